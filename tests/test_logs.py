"""What a running service logs, and what it does not."""

import json
import re
import socket
from itertools import product
from typing import Any

import httpx2
import pytest

from .conftest import MakeService
from .support.services import DEADLINE, Server, Service
from .support.sockets import rest

ROUTES = """
    @app.get("/bug/{key}")
    async def bug(key: str) -> None:
        raise RuntimeError("a bug")

    @app.get("/broken")
    async def broken() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"begun"
            raise RuntimeError("a bug")

        return StreamingResponse(parts())

    @app.api_route("/endless", methods=["GET", "POST"])
    async def endless() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0.01)

        return StreamingResponse(parts())

    @app.post("/lengths")
    async def lengths(request: Request) -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"begun"
            async for part in request.stream():
                yield b"%d" % len(part)

        return StreamingResponse(parts())

    @app.get("/later")
    async def later(tasks: BackgroundTasks) -> None:
        tasks.add_task(bug, "later")

    prefixed = APIRouter()

    @prefixed.get("/things/{key}")
    async def thing(key: str) -> None:
        logging.getLogger("some.library").warning("a library's line")

    app.include_router(prefixed, prefix="/v1")
    return app
"""


@pytest.fixture(params=[True, False], ids=["accounts", "plain"])
def logging_service(request: pytest.FixtureRequest, make_service: MakeService) -> Service:
    service = make_service("sqlite", answers={"accounts": request.param})
    service.edit("src/main.py", "\n    return app\n", ROUTES)
    service.edit(
        "src/main.py",
        "from fastapi import FastAPI, Request",
        "import asyncio, logging\n"
        "from fastapi import APIRouter, BackgroundTasks, FastAPI, Request\n"
        "from fastapi.responses import StreamingResponse",
    )
    service.upgrade()
    return service


def lines(server: Server) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.output.splitlines()]


def test_each_request_is_one_line(logging_service: Service) -> None:
    with logging_service.serve(ENVIRONMENT="production") as server:
        for path in ("/v1/things/secret?token=secret", "/secret", "/bug/secret?token=secret"):
            headers = {
                "X-Request-ID": f"test{path[:3]}",
                "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
            }
            answer = httpx2.get(server.url + path, headers=headers, timeout=DEADLINE)
            assert answer.headers["x-request-id"] == f"test{path[:3]}"
        httpx2.post(server.url + "/v1/things/secret", timeout=DEADLINE)

    found = [line for line in lines(server) if line.get("request_id", "").startswith("test")]
    access = [
        (line["method"], line["route"], line["status"])
        for line in lines(server)
        if line["logger"] == "src.access" and line["route"] != "/livez"
    ]
    assert access == [
        ("GET", "/v1/things/{key}", 200),
        ("GET", None, 404),
        ("GET", "/bug/{key}", 500),
        ("POST", "/v1/things/{key}", 405),
    ]
    assert all(line["trace_id"] == "a" * 32 for line in found)
    assert all(line["duration_ms"] >= 0 for line in found if line["logger"] == "src.access")
    assert {"some.library", "src.access", "src.middleware"} == {line["logger"] for line in found}
    assert {line["logger"] for line in lines(server) if "uvicorn" in line["logger"]} == {"uvicorn"}
    assert "secret" not in server.output
    assert " object at 0x" not in server.output


def test_failure_is_logged_once_and_answered_with_its_id(logging_service: Service) -> None:
    with logging_service.serve(ENVIRONMENT="production") as server:
        headers = server.get("/livez").headers
        answer = server.get("/bug/1")
        assert answer.status_code == 500
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert "a bug" not in answer.text
        assert answer.headers.keys() >= headers.keys()

    (failure,) = [line for line in lines(server) if "exception" in line]
    assert failure["request_id"] == answer.json()["request_id"]
    assert failure["exception"][0]["exc_value"] == "a bug"
    assert failure["level"] == "error"
    assert server.output.count("a bug") == 1


@pytest.mark.parametrize("path", ["/broken", "/later"])
def test_failure_after_the_answer_began_is_logged_once(logging_service: Service, path: str) -> None:
    with logging_service.serve(ENVIRONMENT="production") as server:
        if path == "/broken":
            with pytest.raises(httpx2.RemoteProtocolError):
                server.get(path)
        else:
            assert server.get(path).status_code == 200
        assert server.get("/livez").status_code == 200

    (failure,) = [line for line in lines(server) if "exception" in line]
    (access,) = [line for line in lines(server) if line.get("route") == path]
    assert failure["request_id"] == access["request_id"]
    assert access["status"] == 200


def test_client_that_leaves_is_no_failure(logging_service: Service) -> None:
    with logging_service.serve(ENVIRONMENT="production") as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
            client.recv(1000)
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"POST /docs HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
        server.get("/livez")

    assert [line for line in lines(server) if line.get("route") == "/endless"]
    assert not [line for line in lines(server) if line["level"] in {"error", "critical"}]


def test_body_that_is_refused_during_the_answer_is_a_warning(logging_service: Service) -> None:
    malformed, large = b"zz\r\n", b"200000\r\n" + b"x" * (2**20 + 1)
    with logging_service.serve(ENVIRONMENT="production") as server:
        host, port = server.url.removeprefix("http://").split(":")
        for path, body in product(("/endless", "/lengths"), (malformed, large)):
            with socket.create_connection((host, int(port)), DEADLINE) as client:
                headers = "Host: x\r\nX-Request-ID: late\r\nTransfer-Encoding: chunked"
                client.sendall(f"POST {path} HTTP/1.1\r\n{headers}\r\n\r\n".encode())
                client.recv(1000)
                client.sendall(body)
                rest(client)

    assert not [line for line in lines(server) if line["level"] in {"error", "critical"}]
    late = [line for line in lines(server) if line.get("request_id") == "late"]
    warnings = [line["event"] for line in late if line["level"] == "warning"]
    expected = [f"The request failed during its answer: {status}: " for status in (400, 413)] * 2
    assert len(warnings) == len(expected)
    assert all(map(str.startswith, warnings, expected)), warnings
    assert [line["status"] for line in late if line["level"] == "info"] == [200] * 4


def test_cross_origin_failure_can_be_read(make_service: MakeService) -> None:
    service = make_service("sqlite")
    service.edit(
        "src/main.py",
        "\n    return app\n",
        ROUTES.partition('    @app.get("/broken')[0] + "    return app\n",
    )
    service.upgrade()
    with service.serve(CORS_ORIGINS="https://app.example.com") as server:
        answer = httpx2.get(
            f"{server.url}/bug/1", headers={"Origin": "https://app.example.com"}, timeout=DEADLINE
        )

    assert answer.status_code == 500
    assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
    assert answer.headers["access-control-expose-headers"].startswith("X-Request-ID, ")


def test_sql_is_logged_without_values(engine: str, make_service: MakeService) -> None:
    service = make_service(engine)
    service.upgrade()
    user = {"username": "ada", "email": "ada@example.com", "password": "correct horse"}
    with service.serve(LOG_SQL="true") as server:
        assert httpx2.post(f"{server.url}/users", json=user).status_code == 201
    with service.serve() as quiet:
        quiet.get("/readyz")
    refused = service.run(
        "python", "-m", "src", "routes", LOG_SQL="1", ENVIRONMENT="production", status=2
    )

    (insert,) = [
        line for line in server.output.splitlines() if re.search("INSERT INTO .users", line)
    ]
    assert re.search(r"VALUES .*\[src.database.statements\].* duration_ms=[\d.]+", insert)
    assert "SELECT" in server.output
    assert "ada@example.com" not in server.output.partition("src.auth.emails")[0]
    assert "SELECT" not in quiet.output
    assert "LOG_SQL: Use it in development only. Example: LOG_SQL=false" in refused.stderr


def test_development_shows_requests_and_short_tracebacks(make_service: MakeService) -> None:
    service = make_service("sqlite")
    service.edit(
        "src/main.py",
        "\n    return app\n",
        """
    @app.get("/bug/{key}")
    async def bug(key: str) -> None:
        try:
            int(key)
        except ValueError as error:
            raise RuntimeError("a bug") from error

    structlog.stdlib.get_logger(__name__).warning("Sent", route="a-b")
    return app
""",
    )
    service.edit("src/main.py", "from fastapi import ", "import structlog\nfrom fastapi import ")
    service.upgrade()
    with service.serve() as server:
        server.get("/bug/x")
        server.get("/none%0Ahere%1B%5B31m")
    with service.serve(LOG_LEVEL="DEBUG") as verbose:
        verbose.get("/bug/x")

    (line,) = [line for line in server.output.splitlines() if "GET /bug/{key}" in line]
    frames = re.findall(r'^  File ".*/(\w+\.py)", line \d+, in (\w+)$', server.output, re.MULTILINE)
    assert re.match(
        r"\d\d:\d\d:\d\d \[info +\] GET /bug/\{key\} 500 [\d.]+ ms +\[src.access\] ", line
    )
    assert frames == [("main.py", "bug"), ("main.py", "bug")]
    assert "route=a-b" in server.output
    assert "GET /none%0Ahere%1B%5B31m 404" in server.output
    assert "direct cause" in server.output
    assert "site-packages" in verbose.output
