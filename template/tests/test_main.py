from fastapi import FastAPI
from httpx2 import AsyncClient


async def test_greets_with_its_name(app: FastAPI, client: AsyncClient) -> None:
    response = await client.get("/")

    assert response.status_code == 200
    assert response.json() == {"message": f"Hello from {app.title}!"}


async def test_documents_itself(client: AsyncClient) -> None:
    assert (await client.get("/docs")).status_code == 200
    assert "/readyz" in (await client.get("/openapi.json")).json()["paths"]
