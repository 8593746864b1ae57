import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

TRACE = "0af7651916cd43dd8448eb211c80319c"


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if ".access]" in line]


async def test_each_request_is_a_line_with_its_route_and_not_its_path(
    capsys: pytest.CaptureFixture[str], app: FastAPI, root_client: AsyncClient
) -> None:
    @app.get("/links/{token}")
    async def link(token: str) -> None: ...

    await root_client.get("/links/secret?token=secret", headers={"X-Request-ID": "ada-1"})
    await root_client.get("/nowhere/secret")

    known, unknown = lines(capsys)
    assert "] GET /links/{token} 200 " in known
    assert "request_id=ada-1" in known
    assert "/nowhere/secret 404 " in unknown  # in development only
    assert "secret" not in known


@pytest.mark.parametrize("given", ["", "a b", "a\tb", "ä", "a" * 129, '"', "${jndi:x}"])
async def test_unsafe_request_id_is_replaced(root_client: AsyncClient, given: str) -> None:
    headers = {b"X-Request-ID": given.encode()}

    ids = [
        (await root_client.get("/livez", headers=headers)).headers["x-request-id"] for _ in range(2)
    ]

    assert all(len(id_) == 32 and id_.isalnum() for id_ in ids)
    assert ids[0] != ids[1]


@pytest.mark.parametrize("given", ["ada-1", "a" * 128, "Root=1-6789-abc"])
async def test_request_id_is_sent_back(root_client: AsyncClient, given: str) -> None:
    response = await root_client.get("/livez", headers={"X-Request-ID": given})

    assert response.headers["x-request-id"] == given


@pytest.mark.parametrize(
    ("traceparent", "valid"),
    [
        (f"00-{TRACE}-b7ad6b7169203331-01", True),
        (f"cc-{TRACE}-b7ad6b7169203331-01-more", True),
        (f"00-{TRACE}-b7ad6b7169203331-01-more", False),
        (f"ff-{TRACE}-b7ad6b7169203331-01", False),
        (f"00-{TRACE.upper()}-b7ad6b7169203331-01", False),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"cc-{TRACE}-b7ad6b7169203331-01more", False),
    ],
)
async def test_line_has_the_id_of_the_trace(
    capsys: pytest.CaptureFixture[str], root_client: AsyncClient, traceparent: str, *, valid: bool
) -> None:
    await root_client.get("/livez", headers={"traceparent": traceparent})

    (line,) = lines(capsys)
    assert (f"trace_id={TRACE}" in line) == valid
    assert ("trace_id" in line) == valid
