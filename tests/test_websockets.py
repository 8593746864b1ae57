"""WebSocket routes know who calls and refuse what HTTP routes refuse, over real sockets."""

import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from .conftest import MakeService
from .support.network import wait_for
from .support.services import DEADLINE, Server, Service, install
from .support.sockets import connect, resident, rest

PASSWORD = "correct horse"
ROUTES = """
    from fastapi import HTTPException, WebSocket

    from .auth.dependencies import CurrentUser, accept
    from .exceptions import NotFoundError

    @app.websocket("/greeting")
    async def greeting(websocket: WebSocket, user: CurrentUser) -> None:
        await accept(websocket)
        await websocket.send_text(f"Hello, {user.username}!")
        await websocket.close()

    @app.websocket("/open")
    async def open_to_all(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    @app.websocket("/broken/{when}")
    async def broken(websocket: WebSocket, when: str) -> None:
        if when != "early":
            await websocket.accept()
        if when.startswith("closed"):
            await websocket.close()
        if when.endswith("http"):
            raise HTTPException(404, "the soup is cold")
        raise (NotFoundError if when.endswith("domain") else RuntimeError)("the soup is cold")

    @app.websocket("/left")
    async def accept_late(websocket: WebSocket) -> None:
        while (await websocket.receive())["type"] != "websocket.disconnect":
            pass
        await websocket.accept()
        await websocket.send_text("too late")

    @app.websocket("/pour")
    async def pour(websocket: WebSocket) -> None:
        await websocket.accept()
        while True:
            await websocket.send_text("x" * 100_000)

    @app.websocket("/large")
    async def large(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_bytes(b"x" * 5_000_000)
        await websocket.receive_text()

    @app.websocket("/echo")
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        while True:
            await websocket.send_text(await websocket.receive_text())

    return app
"""


@pytest.fixture
def service(make_service: MakeService) -> Service:
    """A migrated service with WebSocket routes and cheap hashes."""
    service = make_service("sqlite")
    service.edit("src/main.py", "\n    return app\n", ROUTES)
    service.edit("pyproject.toml", '    "uvicorn>=', '    "websockets>=17.4",\n    "uvicorn>=')
    service.commands = install(service.folder, "sqlite-websockets")
    service.environment |= {
        "PASSWORD_MEMORY": "32",
        "PASSWORD_ITERATIONS": "1",
        "PASSWORD_LANES": "1",
    }
    service.upgrade()
    return service


@pytest.fixture
def server(service: Service) -> Iterator[Server]:
    with service.serve() as server:
        yield server
    assert "Traceback" not in server.output


def log_in(server: Server) -> str:
    """Sign somebody up, and return a token of a new session."""
    body = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
    assert httpx2.post(f"{server.url}/users", json=body).status_code in {201, 409}
    form = {"username": "ada", "password": PASSWORD}
    token: str = httpx2.post(f"{server.url}/auth/token", data=form).json()["access_token"]
    return token


def handshake(
    server: Server, *headers: str, path: str = "/greeting", host: str = "Host: x"
) -> tuple[str, bytes]:
    """Open a WebSocket, and return the head of the answer and all that follows it."""
    lines = [
        f"GET {path} HTTP/1.1",
        host,
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *headers,
    ]
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), DEADLINE) as client:
        client.sendall("\r\n".join([*filter(None, lines), "", ""]).encode())
        received = bytearray()
        while piece := client.recv(65536):
            received += piece
            if received[-4:-2] == b"\x88\x02":  # a frame that closes, which waits for ours
                break
    head, _, rest = bytes(received).partition(b"\r\n\r\n")
    return head.decode(), rest


def status(head: str) -> int:
    return int(head.split()[1])


def subprotocol(head: str) -> str | None:
    found = re.search(r"^sec-websocket-protocol: (.*?)\r?$", head, re.IGNORECASE | re.MULTILINE)
    return found[1] if found else None


def test_clients_send_the_token_as_a_subprotocol_or_in_the_header(server: Server) -> None:
    token = log_in(server)

    browser, sent = handshake(server, f"Sec-WebSocket-Protocol: bearer, {token}")
    assert (status(browser), subprotocol(browser)) == (101, "bearer")
    assert b"Hello, ada!" in sent

    program, sent = handshake(server, f"Authorization: Bearer {token}")
    assert (status(program), subprotocol(program)) == (101, None)
    assert b"Hello, ada!" in sent

    server.stop()
    assert token not in server.output
    assert token.removeprefix("session_") not in server.output


def test_clients_without_a_live_session_are_refused_before_the_socket_opens(
    server: Server,
) -> None:
    token = log_in(server)
    as_ada = {"Authorization": f"Bearer {token}"}
    for headers in ((), ("Sec-WebSocket-Protocol: bearer",), (f"Sec-WebSocket-Protocol: {token}",)):
        head, body = handshake(server, *headers)
        assert status(head) == 401, headers
        assert "www-authenticate: Bearer" in head
        assert b'"status":401' in body
    head, _ = handshake(server, path=f"/greeting?token={token}&access_token={token}")
    assert status(head) == 401

    assert httpx2.post(f"{server.url}/auth/logout", headers=as_ada).status_code == 204
    for header in (f"Authorization: Bearer {token}", f"Sec-WebSocket-Protocol: bearer, {token}"):
        head, body = handshake(server, header)
        assert status(head) == 401
        assert 'www-authenticate: Bearer error="invalid_token"' in head
        assert b'"detail":"The session has ended."' in body

    server.stop()
    assert token not in server.output


@pytest.mark.parametrize(
    "host",
    ["", "Host: a\r\nHost: b", "Host: a/b"],
    ids=["no host", "two hosts", "malformed host"],
)
def test_handshake_needs_one_host(server: Server, host: str) -> None:
    assert status(handshake(server, path="/open")[0]) == 101

    head, body = handshake(server, path="/open", host=host)

    assert status(head) == 400, head
    assert "content-type: application/problem+json" in head
    assert b'"status":400' in body


def errors_of(server: Server) -> list[dict[str, Any]]:
    """List the lines of a server in production that are no requests, warnings or notes."""
    lines = [json.loads(line) for line in server.output.splitlines()]
    return [line for line in lines if line["level"] not in {"info", "warning"}]


CASES = {  # when a route fails, and the type of its error
    "open": "RuntimeError",
    "http": "HTTPException",
    "domain": "NotFoundError",
    "closed": "RuntimeError",
    "closed-http": "HTTPException",
    "closed-domain": "NotFoundError",
}


def test_unexpected_error_is_logged_once(service: Service) -> None:
    with service.serve(ENVIRONMENT="production") as server:
        head, body = handshake(server, path="/broken/early")
        assert status(head) == 500, head
        assert "content-type: application/problem+json" in head
        assert b'"status":500' in body
        for when in CASES:
            head, body = handshake(server, f"X-Request-ID: {when}", path=f"/broken/{when}")
            assert status(head) == 101
            code = 1000 if when.startswith("closed") else 1011
            assert body == b"\x88\x02" + code.to_bytes(2, "big"), when
    errors = errors_of(server)
    assert {line["event"] for line in errors} == {"The request failed"}
    types = [line["exception"][0]["exc_type"] for line in errors]
    assert types == ["RuntimeError", *CASES.values()]
    assert all("the soup is cold" in json.dumps(line["exception"]) for line in errors)
    assert [line["request_id"] for line in errors[1:]] == [*CASES]
    lines = [json.loads(line) for line in server.output.splitlines()]
    requests = [line for line in lines if line.get("route") == "/broken/{when}"]
    assert [line["status"] for line in requests] == [500, *[101] * len(CASES)]


def frame(opcode: int, data: bytes, *, ends: bool = True) -> bytes:
    """Make a frame with a mask of zeros (RFC 6455, section 5.2), the last one of its message or not."""
    size = len(data)
    length = bytes([size | 0x80]) if size < 126 else b"\xff" + size.to_bytes(8, "big")
    return bytes([opcode | (0x80 if ends else 0)]) + length + bytes(4) + data


HANDSHAKE = (
    b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def opened(server: Server, path: str) -> socket.socket:
    """Open a WebSocket that offers to compress messages."""
    client = connect(server)
    client.sendall(HANDSHAKE % path.encode())
    head = client.recv(4096)
    assert b" 101 " in head
    assert b"deflate" not in head  # a small message could become a large one
    return client


CONTINUATION, TEXT, CLOSE, PING, PONG = 0, 1, 8, 9, 10


def test_messages_that_are_refused_are_no_errors(service: Service) -> None:
    with service.serve(ENVIRONMENT="production") as server:
        assert status(handshake(server)[0]) == 401
        assert status(handshake(server, path="/nowhere")[0]) == 403
        for data, code in (
            (frame(TEXT, b"\xff"), 1007),
            (frame(TEXT, b"\xff") * 2 + frame(CLOSE, b"") + frame(PING, b""), None),
            (frame(TEXT, b"x" * (2**20 + 1)), 1009),
            (frame(3, b""), 1002),
        ):
            with opened(server, "/echo") as client:
                client.sendall(data)
                answer = rest(client)
            assert code is None or int.from_bytes(answer[2:4], "big") == code, answer
    assert errors_of(server) == []


def test_client_that_leaves_during_the_handshake_is_no_error(service: Service) -> None:
    with service.serve(ENVIRONMENT="production") as server:
        with connect(server) as client:
            client.sendall(HANDSHAKE % b"/left")
        wait_for(lambda: '"/left"' in server.output)
    assert errors_of(server) == []


def test_client_that_reads_too_late_is_no_error(service: Service) -> None:
    options = "ws_max_size=settings.max_body_size,"
    service.edit("src/server.py", options, f"ws_ping_interval=1, ws_ping_timeout=1, {options}")
    with service.serve(ENVIRONMENT="production") as server:
        with opened(server, "/pour") as client:
            time.sleep(3)  # longer than the server waits for the answer to its ping
            rest(client)
        wait_for(lambda: '"/pour"' in server.output)
    assert errors_of(server) == []


def is_reset(client: socket.socket) -> bool:
    """Say whether the server has closed a connection, without reading what it has sent before."""
    try:
        client.send(frame(PONG, b""))
    except OSError:
        return True
    return False


def test_clients_that_do_not_read_take_little_memory_and_are_cut_off(service: Service) -> None:
    service.edit("src/client_connections.py", "CLIENT_TIMEOUT = 30.0", "CLIENT_TIMEOUT = 2.0")
    options = "ws_max_size=settings.max_body_size,"
    service.edit("src/server.py", options, f"ws_ping_interval=2, ws_ping_timeout=2, {options}")
    pings = frame(PING, b"x" * 125) * 10_000
    with service.serve() as server, ExitStack() as stack:
        before = resident(server)
        pinging, pouring, wrong = (
            stack.enter_context(opened(server, path)) for path in ("/echo", "/pour", "/pour")
        )
        wrong.sendall(frame(3, b""))
        with pytest.raises(ConnectionError):
            for _ in range(1000):
                pinging.sendall(pings)
                assert resident(server) - before < 20_000
        for client in (pouring, wrong):
            wait_for(partial(is_reset, client))
        assert server.get("/livez").status_code == 200


def test_all_unread_messages_together_take_little_memory(service: Service) -> None:
    with service.serve() as server, ExitStack() as stack:
        before = resident(server)
        for _ in range(50):
            stack.enter_context(opened(server, "/large"))
        reader = stack.enter_context(opened(server, "/large"))
        received = 0
        while received < 4_990_000:  # the first bytes came with the head
            data = reader.recv(1_000_000)
            assert data
            received += len(data)
        assert resident(server) - before < 55_000


def test_message_of_many_fragments_takes_little_memory(service: Service) -> None:
    letter, empty = (frame(CONTINUATION, data, ends=False) for data in (b"x", b""))
    with (
        service.serve() as server,
        opened(server, "/echo") as client,
        client.makefile("rb") as answers,
    ):
        before = resident(server)
        client.sendall(frame(TEXT, b"<", ends=False) + letter * 400_000 + empty * 400_000)
        client.sendall(frame(PING, b""))
        assert answers.read(2) == b"\x8a\x00"
        assert resident(server) - before < 10_000
        client.sendall(frame(CONTINUATION, b">"))
        assert answers.read(10 + 400_002)[10:] == b"<" + b"x" * 400_000 + b">"


def test_stop_does_not_wait_for_clients_that_do_not_read(service: Service) -> None:
    service.edit("src/server.py", "STOP_TIMEOUT = 30 ", "STOP_TIMEOUT = 3600 ")
    with service.serve() as server, opened(server, "/pour"), opened(server, "/echo") as reader:
        server.process.send_signal(signal.SIGTERM)
        assert rest(reader) == b"\x88\x02" + (1012).to_bytes(2, "big")
        assert server.stop() == 0
    assert "Traceback" not in server.output
