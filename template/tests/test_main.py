import re
from html import escape

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import AsyncClient


async def test_greets_with_its_name(app: FastAPI, root_client: AsyncClient) -> None:
    response = await root_client.get("/")

    assert response.status_code == 200
    assert response.json() == {"message": f"Hello from {app.title}!"}


async def test_shows_browsers_a_page(app: FastAPI, root_client: AsyncClient) -> None:
    page = await root_client.get("/", headers={"Accept": "text/html,*/*;q=0.8"})

    links = re.findall('href="([^"]+)"', page.text)
    assert f"<h1>{escape(app.title)}</h1>" in page.text
    assert f"Version {app.version}" in page.text
    assert {(await root_client.get(link)).status_code for link in links} == {200}
    assert "default-src 'none'; " in page.headers["content-security-policy"]


async def test_documents_itself(app: FastAPI, root_client: AsyncClient) -> None:
    assert (await root_client.get("/docs")).status_code == 200
    document = (await root_client.get("/openapi.json")).json()
    assert document["paths"]["/readyz"]["get"]["operationId"] == "readyz"
    assert document["info"]["version"] == app.version


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_documentation_works_offline(root_client: AsyncClient, path: str) -> None:
    page = await root_client.get(path)

    urls = re.findall('(?:src|href|spec-url)="([^"]+)"', page.text)
    assert "https://" not in page.text
    assert len(urls) > 1
    assert {(await root_client.get(url)).status_code for url in urls} == {200}
    assert page.headers["content-security-policy"].startswith("default-src 'none'; ")


def test_answers_synchronous_tests(sync_client: TestClient) -> None:
    assert sync_client.get("/readyz").json() == {"status": "ready"}
