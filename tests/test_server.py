"""The HTTP server holds against hostile clients, over real sockets and behind proxies."""

import asyncio
import json
import os
import random
import re
import resource
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from itertools import product

import httpx2
import pytest

from .conftest import MakeService
from .support.clusters import reverse_proxy
from .support.mutations import SMUGGLED, framed, mutated
from .support.network import wait_for
from .support.services import DEADLINE, Server, Service, install
from .support.sockets import connect, peak, read_answer, resident, rest

ROUTES = """
    from asyncio import Event

    from fastapi import HTTPException, Response
    from fastapi.responses import FileResponse, StreamingResponse

    released, smuggled = Event(), 0

    @app.api_route("/length", methods=["GET", "POST"])
    async def length(request: Request) -> int:
        return len(await request.body())

    @app.post("/upload", max_body_size=100_000_000)
    async def upload(request: Request) -> int:
        return sum([len(part) async for part in request.stream()])

    @app.post("/form")
    async def fields(request: Request) -> int:
        async with request.form() as form:
            return len(form)

    @app.post("/unread")
    async def answer_without_body() -> str:
        await released.wait()
        return "unread"

    @app.get("/smuggled")
    async def count() -> int:
        nonlocal smuggled
        smuggled += 1
        return smuggled

    @app.get("/wait")
    async def wait() -> str:
        await released.wait()
        return "waited"

    @app.get("/release")
    async def release() -> None:
        released.set()

    @app.get("/big")
    async def big(size: int = 200_000) -> Response:
        return Response(b"x" * size)

    @app.get("/stream")
    async def stream() -> Response:
        async def pieces():
            for _ in range(100):
                yield b"x" * 50_000

        return StreamingResponse(pieces())

    @app.get("/parts")
    async def parts(count: int, fails: bool = False) -> Response:
        async def pieces():
            for number in range(count):
                yield b"part %d\\n" % number
            if fails:
                raise HTTPException(503)

        return StreamingResponse(pieces())

    @app.get("/file")
    async def file() -> FileResponse:
        return FileResponse("aerich.ini")

    return app
"""
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /length HTTP/1.1\r\nHost: x\r\n"
LENGTH = b"Content-Length: %d" % len(SMUGGLED)
CHUNKED = b"Transfer-Encoding: chunked"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk"
WEBSOCKET = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
)


@pytest.fixture
def hostile(make_service: MakeService) -> Service:
    """A service on SQLite that cuts clients off soon, with routes that wait and count."""
    service = make_service("sqlite")
    service.edit("src/client_connections.py", "CLIENT_TIMEOUT = 30.0", "CLIENT_TIMEOUT = 2.0")
    service.edit("src/main.py", "\n    return app\n", ROUTES)
    service.upgrade()
    return service


@pytest.fixture
def server(hostile: Service) -> Iterator[Server]:
    with hostile.serve() as server:
        yield server
    assert server.process.returncode == 0
    assert "Traceback" not in server.output


def header(answer: bytes, name: str) -> str:
    found = re.search(rf"\r\n{name}: ([^\r]*)\r\n".encode(), answer, re.IGNORECASE)
    return found[1].decode() if found else ""


def assert_problem(answer: bytes, status: int) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer
    assert header(answer, "content-type") == "application/problem+json"
    assert header(answer, "x-request-id")
    assert json.loads(body)["status"] == status


def test_body_after_an_offer_to_upgrade_is_read_as_a_body(server: Server) -> None:
    offers = (H2C, WEBSOCKET, b"Connection: Upgrade\r\nUpgrade: TLS/1.0")
    framings = ((LENGTH, SMUGGLED), (CHUNKED, CHUNKS))
    for offer, (framing, body), expect, pause in product(offers, framings, (0, 1), (0, 1)):
        with connect(server) as client:
            head = POST + offer + b"\r\n" + framing + b"\r\nExpect: 100-continue" * expect
            client.sendall(head + b"\r\n\r\n")
            if expect:
                assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            if pause:
                assert server.get("/livez").status_code == 200  # the head has been read
            client.sendall(body)
            assert read_answer(client).endswith(b"\r\n\r\n%d" % len(SMUGGLED)), head
            client.sendall(LIVEZ)  # the connection is still in step
            assert read_answer(client).endswith(b'{"status":"alive"}'), head
    assert server.get("/smuggled").json() == 1


def test_offer_to_upgrade_on_a_connection_that_ends_is_answered(server: Server) -> None:
    for offer, method in product((H2C, WEBSOCKET), (b"POST", b"GET")):
        for version, close in ((b"1.0", b""), (b"1.1", b"close, ")):
            head = POST.replace(b"POST", method).replace(b"1.1", version) + LENGTH + b"\r\n"
            with connect(server) as client:
                head += offer.replace(b"Connection: ", b"Connection: " + close)
                # HTTP/1.0 does not have it (RFC 9110, section 10.1.1)
                head += b"\r\nExpect: 100-continue" * (version == b"1.0")
                client.sendall(head + b"\r\n\r\n" + SMUGGLED)
                answer = rest(client)
            assert answer.count(b"HTTP/1.1 ") == 1, head
            assert answer.endswith(b"\r\n\r\n%d" % len(SMUGGLED)), head
    assert server.get("/smuggled").json() == 1


def test_length_may_have_many_zeros(server: Server) -> None:
    for zeros in (1, 5_000, 60_000):
        for length, status in ((2, 200), (1_048_577, 413)):
            with connect(server) as client:
                client.sendall(POST + b"Content-Length: %b%d\r\n\r\n{}" % (b"0" * zeros, length))
                assert read_answer(client).startswith(b"HTTP/1.1 %d " % status), (zeros, length)


def test_length_may_have_spaces_after_it(server: Server) -> None:
    """The standard allows them (RFC 9110, section 5.5), and a few clients send them."""
    for spaces in (b" ", b"\t", b" " * 20):
        for length, status in ((2, 200), (1_048_577, 413)):
            with connect(server) as client:
                client.sendall(POST + b"Content-Length: %d%b\r\n\r\n{}" % (length, spaces))
                assert read_answer(client).startswith(b"HTTP/1.1 %d " % status), (spaces, length)


def test_body_of_many_empty_lines_is_read(server: Server) -> None:
    """Texts have them. Only in what has no known length do they cost more than other bytes."""
    body = b"\r\n" * 500_000
    with connect(server) as client:
        for offer in (b"", H2C + b"\r\n"):  # the connection is still in step
            client.sendall(POST + offer + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            assert read_answer(client).endswith(b"\r\n\r\n%d" % len(body))
        client.sendall(POST + CHUNKED + b"\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
        assert_problem(rest(client), 400)


def test_text_of_short_paragraphs_is_read_in_chunks(server: Server) -> None:
    """Clients send emails and other text with CRLF in chunks when they do not know the length."""
    body = (b"x" * 98 + b"\r\n\r\n") * 10_000
    with connect(server) as client:
        client.sendall(POST + CHUNKED + b"\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
        assert read_answer(client).endswith(b"\r\n\r\n%d" % len(body))
        client.sendall(LIVEZ)  # the connection is still in step
        assert read_answer(client).endswith(b'{"status":"alive"}')


def test_body_that_is_not_read_does_not_count_for_the_next_request(server: Server) -> None:
    """Behind a proxy, the next request of the connection is another client's."""
    body = b"x" * 200_000
    for framing, sent in (
        (b"Content-Length: 200000", body),
        (CHUNKED, b"30d40\r\n%b\r\n0\r\n\r\n" % body),
    ):
        with connect(server) as client:
            for _ in range(3):
                client.sendall(POST.replace(b"length", b"nowhere") + framing + b"\r\n\r\n")
                assert read_answer(client).startswith(b"HTTP/1.1 404 ")
                client.sendall(sent + LIVEZ)
                assert read_answer(client).startswith(b"HTTP/1.1 200 ")


def test_route_reads_bodies_that_are_larger_than_others(hostile: Service) -> None:
    """A client may send them at once, or in chunks of few bytes."""
    size = 20_000_000
    with hostile.serve(MAX_BODY_SIZE="1024") as server:
        for framing, part, count in (
            (b"Content-Length: %d" % size, b"x" * size, 1),
            (CHUNKED, b"%x\r\n%b\r\n" % (size // 80, b"x" * (size // 80)), 80),
            (CHUNKED, b"14\r\n%b\r\n" % (b"x" * 20), size // 20),
        ):
            with connect(server) as client:
                client.sendall(POST.replace(b"length", b"upload") + framing + b"\r\n\r\n")
                client.sendall(part * count + b"0\r\n\r\n" * (framing == CHUNKED))
                assert read_answer(client).endswith(b"\r\n\r\n%d" % size), framing


def test_body_whose_end_is_not_clear_ends_the_connection(server: Server) -> None:
    for head in (
        POST + LENGTH + b"\r\n" + CHUNKED,
        POST + b"Transfer-Encoding: chunked, identity\r\n" + LENGTH,
        POST + b"Transfer-Encoding: gzip, chunked",
        POST + b"Transfer-Encoding: gzip\r\n" + CHUNKED,
        POST + CHUNKED + b"\r\n" + CHUNKED,
        POST + b"Transfer-Encoding : chunked\r\n" + LENGTH,
        POST + LENGTH + b"\r\nContent-Length: 0",
        POST.replace(b"1.1", b"1.0") + CHUNKED,
        POST.replace(b"1.1", b"2.0") + LENGTH,
        POST.replace(b"1.1", b"0.9") + LENGTH,
        POST.replace(b"POST /length", b"CONNECT x:80") + LENGTH,
        POST.replace(b"POST", b"CONNECT") + LENGTH,
        POST.replace(b"POST", b"CONNECT") + H2C + b"\r\n" + LENGTH,
    ):
        with connect(server) as client:
            client.sendall(head + b"\r\n\r\n")
            with suppress(ConnectionError):
                client.sendall(CHUNKS)
            answer = rest(client)
        assert answer.count(b"HTTP/1.1 ") == 1, head
        assert_problem(answer, 400)
    assert server.get("/smuggled").json() == 1


def test_broken_chunk_ends_the_connection(server: Server) -> None:
    for chunk in (b"zz\r\n", b"-1\r\n", b"1\r\nab\r\n", b"1\nx\n"):
        with connect(server) as client:
            client.sendall(POST + CHUNKED + b"\r\n\r\n")
            assert server.get("/livez").status_code == 200
            client.sendall(chunk + SMUGGLED)
            assert_problem(rest(client), 400)
    assert server.get("/smuggled").json() == 1


def test_what_follows_a_broken_chunk_costs_little(server: Server) -> None:
    with connect(server) as client:
        client.sendall(POST.replace(b"length", b"unread") + CHUNKED + b"\r\n\r\n")
        assert server.get("/livez").status_code == 200
        for _ in range(4):
            client.sendall(b"zz\r\n" + b"\n" * 100_000)
            assert server.get("/livez").status_code == 200
        assert server.get("/release").status_code == 200
        assert rest(client).endswith(b'"unread"')
    assert server.output.count("Invalid HTTP request") <= 1


def test_broken_body_that_is_not_read_has_one_answer(server: Server) -> None:
    head = POST.replace(b"length", b"nowhere") + CHUNKED + b"\r\n\r\n"
    chunks = b"1\r\nx\r\n0\r\nContent-Length: 5\r\n\r\n"
    for pause in (False, True):
        with connect(server) as client:
            client.sendall(head if pause else head + chunks)
            answer = read_answer(client)
            assert answer.startswith(b"HTTP/1.1 404 ")
            assert header(answer, "connection") == ("" if pause else "close")
            client.sendall(chunks * pause)
            assert rest(client) == b""
    # HAProxy passes this trailer on, and would give a second answer to the next client
    with reverse_proxy("haproxy", int(server.url.rpartition(":")[2])) as front:
        for _ in range(10):
            with socket.create_connection(("127.0.0.1", front), DEADLINE) as client:
                client.sendall(head + chunks)
                assert read_answer(client).startswith(b"HTTP/1.1 404 ")
                assert httpx2.get(f"http://127.0.0.1:{front}/livez").status_code == 200


def test_trailers_are_no_headers(server: Server) -> None:
    body = b"1\r\nx\r\n0\r\nX-Request-ID: forged\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
    for chunks in (body, body.removeprefix(b"1\r\nx\r\n")):
        with connect(server) as client:
            for _ in range(2):  # the connection is still in step
                client.sendall(POST + CHUNKED + b"\r\n\r\n" + chunks)
                answer = read_answer(client)
                assert answer.startswith(b"HTTP/1.1 200 ")
                assert header(answer, "x-request-id") != "forged"


@pytest.mark.parametrize("proxy", ["", "haproxy"])
def test_close_in_a_trailer_closes_nothing_for_others(proxy: str, server: Server) -> None:
    """HAProxy passes trailers on, and keeps the connection for the next client."""
    port = int(server.url.rpartition(":")[2])
    request = POST + CHUNKED + b"\r\n\r\n1\r\nx\r\n0\r\nConnection: close\r\n\r\n"
    with ExitStack() as stack:
        front = stack.enter_context(reverse_proxy(proxy, port)) if proxy else port
        client = stack.enter_context(socket.create_connection(("127.0.0.1", front), DEADLINE))
        for path in (b"/length", b"/nowhere"):  # one reads the body, the other does not
            client.sendall(request.replace(b"/length", path))
            assert b"HTTP/1.1 " in read_answer(client)
            if proxy:
                assert httpx2.get(f"http://127.0.0.1:{front}/livez").status_code == 200
            client.sendall(LIVEZ)
            assert read_answer(client).endswith(b'{"status":"alive"}')


@pytest.mark.parametrize("keep", [b"", b"Connection: keep-alive\r\n"])
def test_stream_to_http_1_0_ends_with_the_connection(
    keep: bytes, server: Server, hostile: Service
) -> None:
    """Such a client takes the marks of chunks for content (RFC 9112, section 6.1)."""
    whole = b"part 0\npart 1\n"
    configuration = (hostile.folder / "aerich.ini").read_bytes()
    for path, head, body in (
        ("/parts?count=2", "", whole),
        ("/parts?count=0", "", b""),
        ("/parts?count=2&fails=true", "", whole),
        ("/file", str(len(configuration)), configuration),
        ("/livez", "18", b'{"status":"alive"}'),
        ("/big", "200000", b"x" * 200_000),
    ):
        for method, content in (("GET", body), ("HEAD", b"")):
            with connect(server) as client:
                client.sendall(f"{method} {path} HTTP/1.0\r\n".encode() + keep + b"\r\n")
                answer = rest(client)
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            assert not header(answer, "transfer-encoding")
            assert header(answer, "content-length") == head
            assert header(answer, "connection") == "close"
            assert answer.partition(b"\r\n\r\n")[2] == content, (method, path)


def test_what_is_no_body_takes_little_memory(server: Server) -> None:
    """Trailers, extensions of chunks and empty lines are not seen by the application."""
    start = POST + CHUNKED + b"\r\n\r\n"
    server.get("/livez")
    before = resident(server)
    for endless in (
        start + b"0\r\na: " + b"b" * 20_000_000,
        start + b"0\r\n" + b"a:\r\n" * 4_000_000,
        start + b"1;" + b"a" * 20_000_000,
        b"\r\n" * 5_000_000,
        LIVEZ[:-2] + b"a:\r\n" * 4_000_000,
    ):
        with connect(server) as client:
            with pytest.raises(ConnectionError):
                client.sendall(endless)
                rest(client)
                client.sendall(endless)
            assert resident(server) - before < 20_000, endless[:100]
    assert server.get("/livez").status_code == 200


@pytest.mark.parametrize("proxy", ["nginx", "haproxy"])
def test_nobody_gets_another_clients_answer_behind_a_proxy(proxy: str, server: Server) -> None:
    with reverse_proxy(proxy, int(server.url.rpartition(":")[2])) as front:
        url = f"http://127.0.0.1:{front}"
        framings = ((LENGTH, SMUGGLED), (CHUNKED, CHUNKS))
        for offer, (framing, body), _ in product((H2C, WEBSOCKET), framings, range(4)):
            with socket.create_connection(("127.0.0.1", front), DEADLINE) as attacker:
                attacker.sendall(POST + offer + b"\r\n" + framing + b"\r\n\r\n")
                assert server.get("/livez").status_code == 200
                attacker.sendall(body)
                assert b"HTTP/1.1 " in attacker.recv(65536)
                for _ in range(3):
                    assert httpx2.get(f"{url}/livez").json() == {"status": "alive"}
        answers = [httpx2.post(f"{url}/length", content=b"x" * n).json() for n in range(5)]
    assert answers == list(range(5))
    assert server.get("/smuggled").json() == 1


WEBSOCKETS = """
    from fastapi import WebSocket

    @app.websocket("/echo")
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        while True:
            await websocket.send_text(await websocket.receive_text())

    return app
"""


def frame(text: bytes) -> bytes:
    """Make a frame of text with a mask of zeros (RFC 6455, section 5.2)."""
    return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text


@pytest.mark.parametrize("proxy", ["", "nginx", "haproxy"])
def test_websockets_work(proxy: str, make_service: MakeService) -> None:
    service = make_service("sqlite")
    service.edit("src/client_connections.py", "CLIENT_TIMEOUT = 30.0", "CLIENT_TIMEOUT = 0.5")
    service.edit("src/main.py", "\n    return app\n", WEBSOCKETS)
    service.edit("pyproject.toml", '    "uvicorn>=', '    "websockets>=17.4",\n    "uvicorn>=')
    service.commands = install(service.folder, "sqlite-websockets")
    service.upgrade()
    handshake = b"GET %b HTTP/1.1\r\nHost: x\r\n" + WEBSOCKET + b"\r\n\r\n"
    with service.serve() as server, ExitStack() as stack:
        port = int(server.url.rpartition(":")[2])
        front = stack.enter_context(reverse_proxy(proxy, port)) if proxy else port
        with socket.create_connection(("127.0.0.1", front), DEADLINE) as client:
            client.sendall(handshake % b"/echo")
            assert client.recv(65536).startswith(b"HTTP/1.1 101 ")
            for text in (b"one", b"two"):
                client.sendall(frame(text))
                assert client.recv(65536) == bytes([0x81, len(text)]) + text
                time.sleep(1.5)  # longer than the server waits for what it does wait for
        with socket.create_connection(("127.0.0.1", front), DEADLINE) as client:
            client.sendall(handshake % b"/nowhere")
            assert_problem(read_answer(client), 403)
    assert server.process.returncode == 0


def test_what_follows_a_handshake_is_no_request(hostile: Service) -> None:
    hostile.edit("pyproject.toml", '    "uvicorn>=', '    "websockets>=17.4",\n    "uvicorn>=')
    hostile.commands = install(hostile.folder, "sqlite-websockets")
    handshake = b"GET /length HTTP/1.1\r\nHost: x\r\n" + WEBSOCKET + b"\r\n"
    with hostile.serve() as server:
        for pause in (False, True):
            for framing, body in ((LENGTH, SMUGGLED), (CHUNKED, CHUNKS)):
                with connect(server) as client:
                    head = handshake + framing + b"\r\n\r\n"
                    client.sendall(head if pause else head + body)
                    if pause:
                        assert server.get("/livez").status_code == 200  # the head has been read
                        client.sendall(body)
                    assert read_answer(client).endswith(b"\r\n\r\n%d" % len(SMUGGLED))
                    client.sendall(LIVEZ)  # the connection is still in step
                    assert read_answer(client).endswith(b'{"status":"alive"}')
            with connect(server) as client:
                client.sendall(handshake + b"\r\n" + SMUGGLED * 3 * (not pause))
                assert_problem(read_answer(client), 403)
        for version, end in (
            (b"1.0", b"\r\n\r\n0"),
            (b"2.0", b'"The request is not valid HTTP/1.1, or its head is too large."}'),
        ):
            with connect(server) as client:
                client.sendall(handshake.replace(b"1.1", version) + b"\r\n")
                assert rest(client).endswith(end), version
        for headers in (
            b"X: %b" % (b"x" * 20_000),
            b"\r\n".join(b"X%d: x" % n for n in range(240)),
            b"Sec-WebSocket-Extensions: ;;",
            b"Sec-WebSocket-Key: x",
            b"Sec-WebSocket-Version: 12",
            b"Connection: keep-alive",
        ):  # each connection ends by itself, with an answer or without
            with connect(server) as client:
                client.sendall(handshake + headers + b"\r\n\r\n")
                assert b" 101 " not in rest(client)
        assert server.get("/smuggled").json() == 1
    assert "Traceback" not in server.output


@pytest.mark.parametrize("count", [1, 4])
def test_pipelined_requests_take_little_memory(count: int, server: Server) -> None:
    for _ in range(50):
        server.get("/livez")
    before = most = resident(server)
    requests = LIVEZ * 1000
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(count)]
        for client in clients:
            client.settimeout(0.2)
            sent = 0
            with suppress(TimeoutError):  # the server reads no more while it answers
                while sent < 8_000_000:
                    sent += client.send(requests)
                    most = max(most, resident(server))
            assert sent < 8_000_000
        for _ in range(20):
            most = max(most, resident(server))
            assert server.get("/livez").status_code == 200
    assert most - before < 20_000


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    count = 500
    requests = b"".join(
        b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (n, b"x" * n)
        for n in range(count)
    )
    with connect(server) as client, ThreadPoolExecutor(1) as thread:
        sending = thread.submit(client.sendall, requests + b"GET / HTTP/1.1\r\nbad\r\n\r\n" + LIVEZ)
        received = rest(client)
        sending.result()
    bodies = re.findall(rb"\r\n\r\n(\d+)HTTP", received + b"HTTP")
    assert bodies == [b"%d" % n for n in range(count)]
    assert b"alive" not in received


def test_clients_that_do_not_read_take_little_memory_and_are_cut_off(server: Server) -> None:
    for _ in range(50):
        server.get("/openapi.json")
    for path in (b"/openapi.json", b"/big"):
        before = resident(server)
        with ExitStack() as stack:
            clients = [stack.enter_context(connect(server)) for _ in range(50)]
            for client in clients:
                client.setblocking(False)
                with suppress(BlockingIOError):
                    for _ in range(100):
                        client.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path * 100)
            assert server.get("/livez").status_code == 200
            assert resident(server) - before < 50_000, path
            wait_for(partial(are_reset, clients))
            assert resident(server) - before < 50_000, path
    assert server.get("/livez").status_code == 200


def test_unread_large_answers_are_given_up(server: Server) -> None:
    """A stream waits for its client; any other answer is in memory until its client is cut off."""
    for path, limit in ((b"/stream", 50_000), (b"/big?size=5000000", 55_000)):
        server.get(path.decode())
        before = resident(server)
        with ExitStack() as stack:
            clients = [stack.enter_context(connect(server)) for _ in range(50)]
            for client in clients:
                client.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            assert server.get("/livez").status_code == 200
            assert resident(server) - before < limit, path
            for client in clients:
                client.setblocking(False)
            wait_for(partial(are_reset, clients))
            assert resident(server) - before < 50_000, path


LARGE = b"GET /big?size=5000000 HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "requests",
    [LARGE, LARGE * 3, LARGE.replace(b"5000000", b"200000") * 50 + LARGE],
    ids=["one", "three", "small ones before a large one"],
)
def test_all_unread_answers_together_take_little_memory(requests: bytes, server: Server) -> None:
    """Who reads gets a whole answer meanwhile, even if it is larger than all others together."""
    for _ in range(50):
        server.get("/big?size=100000")
    before = peak(server)
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(50)]
        reader = stack.enter_context(ThreadPoolExecutor(1))
        server.process.send_signal(signal.SIGSTOP)  # all requests arrive before the first answer
        for client in clients[:25]:
            client.sendall(requests)
        large = reader.submit(server.get, "/big?size=50000000")
        wait_for(lambda: large.running())
        for client in clients[25:]:
            client.sendall(requests)
        server.process.send_signal(signal.SIGCONT)
        assert len(server.get("/big?size=5000000").content) == 5_000_000
        for client in clients:
            with suppress(ConnectionError):
                client.sendall(LARGE)
        assert len(server.get("/big?size=5000000").content) == 5_000_000
        assert len(large.result().content) == 50_000_000
        assert peak(server) - before < 50_000 + 50_000 + 5_000


@pytest.mark.parametrize("start", [b"", LIVEZ[:9], POST, POST + LENGTH + b"\r\n\r\nGET"])
def test_unfinished_request_is_given_up(start: bytes, server: Server) -> None:
    with connect(server) as client:
        client.sendall(start)
        assert rest(client) == b""
    with connect(server) as client:
        client.sendall(LIVEZ + start)
        assert read_answer(client).startswith(b"HTTP/1.1 200 ")
        assert rest(client) == b""


def are_reset(clients: list[socket.socket]) -> bool:
    return all(map(is_reset, clients))


def is_reset(client: socket.socket) -> bool:
    """Say whether the server has closed a connection on which answers wait."""
    try:
        client.send(b"x")
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False


def test_slow_reader_gets_its_whole_answer(server: Server) -> None:
    """It needs longer than the server waits for a client that reads nothing."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
        client.sendall(b"GET /big?size=500000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received, begin = 0, time.monotonic()
        while data := client.recv(8192):
            received += len(data)
            time.sleep(0.1)
    assert time.monotonic() - begin > 4
    assert received > 500_000


def test_next_request_is_answered_after_an_answer_is_read_slowly(hostile: Service) -> None:
    """The connection is not idle while the client reads, which takes longer than KEEP_ALIVE here."""
    with hostile.serve(KEEP_ALIVE="1") as server, connect(server) as client:
        client.sendall(LARGE.replace(b"5000000", b"9000000") + LIVEZ)
        for _ in range(50):
            client.recv(65536)
            time.sleep(0.05)
        assert rest(client).endswith(b'{"status":"alive"}')


@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"])
def test_stop_does_not_wait_for_clients_that_do_not_read(close: bytes, hostile: Service) -> None:
    hostile.edit("src/client_connections.py", "CLIENT_TIMEOUT = 2.0", "CLIENT_TIMEOUT = 3600.0")
    hostile.edit("src/server.py", "STOP_TIMEOUT = 30 ", "STOP_TIMEOUT = 3600 ")
    with hostile.serve() as server, ExitStack() as stack:
        for _ in range(10):
            client = stack.enter_context(connect(server))
            client.setblocking(False)
            with suppress(BlockingIOError):
                for _ in range(100):
                    # more than the kernel keeps: a finished answer would reset the connection
                    client.send(b"GET /big?size=20000000 HTTP/1.1\r\nHost: x\r\n%b\r\n" % close)
        assert server.get("/livez").status_code == 200
        assert server.stop() == 0
    assert "Traceback" not in server.output


def test_requests_that_cannot_be_read_are_problems(server: Server) -> None:
    for request in (
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET / HTTP/1.1\r\nX: %b\r\n\r\n" % (b"x" * 70_000),
        b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 5000 + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
    ):
        with connect(server) as client:
            client.sendall(request)
            answer = rest(client)
        assert_problem(answer, 400)
        identifier = header(answer, "x-request-id")
        wait_for(partial(contains, server, identifier))
    for host in (b"x", b"x:80", b"[::1]:80", b"127.0.0.1", b"", b"a.example.com:"):
        with connect(server) as client:
            client.sendall(b"GET /livez HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
            assert read_answer(client).startswith(b"HTTP/1.1 200 "), host
    with connect(server) as client:
        client.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert rest(client).startswith(b"HTTP/1.1 200 ")


def test_cookies_that_python_reads_slowly_are_refused(server: Server) -> None:
    for cookies, status in (
        ([b"\\" * 60_000], 400),
        ([b"\\a" * 600, b"\\a" * 600], 400),
        ([b"\\a" * 500, b"\\054" * 500, b"x" * 50_000], 422),
    ):
        lines = b"".join(b'Cookie: c="%b"\r\n' % cookie for cookie in cookies)
        with connect(server) as client:
            client.sendall(
                b"POST /users HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n%b\r\n" % lines
            )
            assert_problem(read_answer(client), status)


def contains(server: Server, text: str) -> bool:
    return text in server.output


def test_no_answer_leads_to_another_host(server: Server) -> None:
    for path in (b"/users/", b"/livez/", b"//evil.example/", b"/auth/sessions/"):
        for method in (b"GET", b"POST"):
            with connect(server) as client:
                line = b"%b %b HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n"
                client.sendall(line % (method, path))
                answer = read_answer(client)
            assert b"evil" not in answer, answer
            assert answer[9:12] in (b"404", b"405"), answer


def test_idle_connection_stays_open_as_long_as_set(hostile: Service) -> None:
    for seconds, stays in (("1", False), ("3600", True)):
        with hostile.serve(KEEP_ALIVE=seconds) as server, connect(server) as client:
            client.sendall(LIVEZ)
            assert b" 200 " in read_answer(client)
            if stays:
                time.sleep(5)  # more than twice the time that an active client is waited for
                client.sendall(LIVEZ)
                assert b" 200 " in read_answer(client)
            else:
                assert rest(client) == b""


def test_connection_stays_open_after_a_body_that_is_not_read(hostile: Service) -> None:
    with hostile.serve(KEEP_ALIVE="3600") as server, connect(server) as client:
        client.sendall(POST.replace(b"length", b"nowhere") + LENGTH + b"\r\n\r\n")
        assert b" 404 " in read_answer(client)
        client.sendall(SMUGGLED)
        time.sleep(5)  # as above
        client.sendall(LIVEZ)
        assert b" 200 " in read_answer(client)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_hang_up_cuts_no_request(workers: str, hostile: Service) -> None:
    with hostile.serve(WEB_CONCURRENCY=workers) as server, connect(server) as client:
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" if workers == "1" else LIVEZ[:20])
        assert server.get("/livez").status_code == 200
        server.process.send_signal(signal.SIGHUP)
        assert server.get("/livez").status_code == 200
        if workers == "1":
            assert server.get("/release").status_code == 200
            assert read_answer(client).endswith(b'"waited"')
    assert server.process.returncode == 0


def test_few_file_descriptors_are_logged(server: Server) -> None:
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (64, 4096))
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(connect(server))
        wait_for(lambda: "of 64 file descriptors are in use" in server.output)
    wait_for(lambda: answers(server))
    assert server.output.count("file descriptors") == 1


def answers(server: Server) -> bool:
    try:
        return server.get("/livez").status_code == 200
    except httpx2.TransportError:
        return False


def test_documentation_is_off_in_production(make_service: MakeService) -> None:
    service = make_service("sqlite")
    service.upgrade()
    for environment, docs, status in (
        ("production", "", 404),
        ("production", "on", 200),
        ("development", "", 200),
        ("development", "off", 404),
    ):
        with service.serve(ENVIRONMENT=environment, DOCS=docs) as server:
            for path in ("/docs", "/redoc", "/openapi.json"):
                assert server.get(path).status_code == status, (environment, docs, path)


def test_refused_bodies_cost_little(server: Server) -> None:
    many = b'{"email": "a@example.com"' + b"".join(b', "k%d": 1' % n for n in range(70_000)) + b"}"
    form = b"&" * 10_001
    some = b"{" + b", ".join(b'"k%d": 1' % n for n in range(5_000)) + b"}"
    text = b'{"email": "' + b'{[,:\\"' * 100_000 + b'"}'
    long = b'{"' + b"\x7f" * 1_000_000 + b'": 1}'
    kinds = {"json": "application/json", "form": "application/x-www-form-urlencoded"}
    for path, kind, body, status in (
        ("/auth/password-reset", "json", many, 400),
        ("/auth/token", "form", form, 400),
        ("/auth/password-reset", "json", b"[" * 1_000_000, 400),
        ("/auth/password-reset", "json", b'{"a":' * 100_000, 400),
        ("/auth/password-reset", "json", some, 422),
        ("/auth/password-reset", "json", text, 422),
        ("/auth/password-reset", "json", long, 422),
        ("/auth/token", "form", b"\x01" * 16_000, 422),  # six times as long in JSON
        ("/auth/token", "form", b"%" * 17_000, 413),  # takes ten times as long as JSON
    ):
        headers = {"Content-Type": kinds[kind]}
        answer = httpx2.post(server.url + path, content=body, headers=headers, timeout=DEADLINE)
        assert answer.status_code == status, (body[:50], answer.text[:500])
        assert len(answer.content) < 4000
        if body is some:
            assert len(answer.json()["errors"]) == 20
            assert "4981 more errors are not listed" in answer.json()["detail"]


def test_forms_are_decoded_quickly(server: Server) -> None:
    """As punycode, this one would take minutes."""
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n%b\r\n--x--\r\n'
    kind = b"multipart/form-data; boundary=x"
    for charset, status in (
        (b"", 200),
        (b"; charset=UTF-8", 200),
        (b'; Charset="utf-8"', 200),
        (b"; charset=ISO-8859-1", 200),
        (b"; charset=punycode", 400),
        (b'; charset = "Punyc\xe9ode"', 400),  # Python leaves out the letter
        (b"; charset=utf-8; charset=punycode", 400),
    ):
        headers = {b"Content-Type": kind + charset}
        url = f"{server.url}/form"
        body = part % (b"9" * 1_000_000)
        answer = httpx2.post(url, content=body, headers=headers, timeout=DEADLINE)
        assert answer.status_code == status, (charset, answer.text)
        assert status == 400 or answer.json() == 1


def test_type_of_a_body_is_short(server: Server) -> None:
    for length, status in ((900, 200), (60_000, 400)):
        kind = f'multipart/form-data; boundary=x; a="{";" * length}"'
        answer = httpx2.post(f"{server.url}/form", content=b"--x--", headers={"Content-Type": kind})
        assert answer.status_code == status, answer.text


def test_values_are_counted_however_a_body_is_described(server: Server) -> None:
    many = '{"\\"": 1' + "".join(f', "{n:x}": 1' for n in range(11_000)) + "}"
    for body in (many.encode(), *(many.encode(f"utf-{form}") for form in ("16", "16-be", "32"))):
        for types in (
            ["application/json"],
            ["application/json", "text/plain"],
            ["Application/x+JSON; charset=utf-16", "application/x-www-form-urlencoded"],
        ):
            headers = [("Content-Type", kind) for kind in types]
            url = f"{server.url}/auth/password-reset"
            answer = httpx2.post(url, content=body, headers=headers, timeout=DEADLINE)
            assert answer.status_code == 400, (body[:20], types)
            assert "values" in answer.text or "UTF-8" in answer.text


REQUESTS = 20_000
CLIENTS = 50


async def attack(port: int, choose: random.Random) -> Counter[int]:
    """Send damaged requests, each on a new connection, and count the statuses of the answers."""
    requests = iter([choose.choice((framed, mutated))(choose) for _ in range(REQUESTS // 2)])
    statuses: Counter[int] = Counter()

    async def send() -> None:
        for request in requests:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with suppress(ConnectionError, TimeoutError):
                writer.write(request)
                async with asyncio.timeout(0.1):  # many wait for more, which never comes
                    answer = await reader.read(65536)
                statuses.update(int(status) for status in re.findall(rb"HTTP/1.1 (\d{3})", answer))
            writer.transport.abort()

    await asyncio.gather(*(send() for _ in range(CLIENTS)))
    return statuses


def test_damaged_requests_break_nothing(hostile: Service) -> None:
    seed = int(os.environ.get("FUZZ_SEED", "1"))  # the weekly job takes another each time
    print(f"\nFUZZ_SEED={seed}")
    choose = random.Random(seed)
    with hostile.serve(ENVIRONMENT="production") as server:
        port = int(server.url.rpartition(":")[2])
        statuses = asyncio.run(attack(port, choose))
        before = resident(server)
        statuses += asyncio.run(attack(port, choose))
        assert resident(server) - before < 20_000
        assert server.get("/smuggled").json() == 1, "a body was taken for a request"
        assert server.get("/readyz").status_code == 200
    assert server.process.returncode == 0
    assert statuses[400] > REQUESTS / 10
    assert not [status for status in statuses if status >= 500 and status != 503], statuses
    lines = [json.loads(line) for line in server.output.splitlines()]
    assert sum(line.get("status") == 200 for line in lines) > REQUESTS / 100
    assert not [line for line in lines if line["level"] in {"error", "critical"}]
    assert not [line for line in lines if line.get("status", 0) >= 500 and line["status"] != 503]
