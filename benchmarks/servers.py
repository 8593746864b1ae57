"""How HTTP servers bear hostile clients: the figures of docs/decisions/0002-http-server.md.

Run it in a rendered service that has the routes /length and /slow (see `ROUTES`):

    python -m benchmarks.servers FOLDER COMMAND...

`{port}` in the command becomes a free port. It prints one line for each case.
"""

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx2

from tests.support.services import free_port

ROUTES = """
    from asyncio import sleep

    @app.post("/length")
    async def length(request: Request) -> int:
        return len(await request.body())

    @app.get("/slow")
    async def slow() -> None:
        await sleep(2)

    return app
"""
PATIENCE = 70.0  # seconds after which a client counts as waited for without end
HEAD = b"POST /length HTTP/1.1\r\nHost: x\r\n"
SECOND = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


class Candidate:
    """A server's process and the processes that it started."""

    def __init__(self, folder: str, command: list[str]) -> None:
        self.port = free_port()
        begin = time.perf_counter()
        self.process = subprocess.Popen(
            [part.replace("{port}", str(self.port)) for part in command],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not self.answers():
            time.sleep(0.01)
        self.start = time.perf_counter() - begin

    def answers(self) -> bool:
        with suppress(httpx2.TransportError):
            return httpx2.get(f"http://127.0.0.1:{self.port}/livez").status_code == 200
        return False

    def memory(self) -> float:
        """Sum the resident memory of the process and its children, in MB."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        total = 0
        for pid in (self.process.pid, *children.split()):
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
            total += int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])
        return total / 1024

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def stop(self) -> float:
        begin = time.perf_counter()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
        return time.perf_counter() - begin


def exchange(server: Candidate, *parts: bytes) -> bytes:
    """Send parts with pauses, and read for as long as answers come."""
    received = b""
    with server.connect() as client, suppress(OSError):
        for part in parts:
            client.sendall(part)
            time.sleep(0.3)
        client.settimeout(1)
        while data := client.recv(65536):
            received += data
    return received


def framing(server: Candidate, *headers: bytes, body: bytes = SECOND) -> str:
    """Send a request as a body: is it read as the body of one request?"""
    answer = exchange(server, HEAD + b"\r\n".join(headers) + b"\r\n\r\n", body)
    count = answer.count(b"HTTP/1.1 ")
    right = count == 1 and answer.endswith(b"\r\n\r\n%d" % len(SECOND))
    closed = count == 1 and answer.startswith(b"HTTP/1.1 4")
    return "right" if right else "refused" if closed else f"WRONG ({count} answers)"


def first_line(server: Candidate, request: bytes) -> str:
    answer = exchange(server, request)
    kind = re.search(rb"content-type: ([^\r;]*)", answer, re.IGNORECASE)
    return f"{answer[9:12].decode() or 'closed'} {kind[1].decode() if kind else ''}"


def pipelined(server: Candidate) -> str:
    before = most = server.memory()
    request, sent = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 2000, 0
    with server.connect() as client:
        client.settimeout(2)
        with suppress(OSError):
            while sent < 8_000_000:
                sent += client.send(request)
                most = max(most, server.memory())
        for _ in range(20):
            time.sleep(0.1)
            most = max(most, server.memory())
    return f"+{most - before:.0f} MB"


def unread(server: Candidate, stack: ExitStack) -> tuple[str, list[socket.socket]]:
    before = server.memory()
    clients = [stack.enter_context(server.connect()) for _ in range(50)]
    for client in clients:
        client.settimeout(0.05)
        with suppress(OSError):
            for _ in range(100):
                client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
    time.sleep(5)
    return f"+{server.memory() - before:.0f} MB", clients


def until_closed(server: Candidate, clients: dict[str, socket.socket]) -> dict[str, str]:
    """Wait until the server closes connections, some of which drip bytes."""
    begin, closed = time.monotonic(), dict.fromkeys(clients, "never")
    while "never" in closed.values() and time.monotonic() < begin + PATIENCE:
        for name, client in clients.items():
            if closed[name] != "never":
                continue
            try:
                client.settimeout(0.01)
                if "drips" in name:
                    client.sendall(b"x")
                if client.recv(65536) == b"":
                    raise ConnectionError
            except TimeoutError:
                continue
            except OSError:
                closed[name] = f"after {time.monotonic() - begin:.0f} s"
        time.sleep(0.5)
    return closed


def load(server: Candidate) -> str:
    command = ["wrk", "-t1", "-c32", "-d5", f"http://127.0.0.1:{server.port}/livez"]
    rates = []
    for _ in range(3):
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rates.append(float(re.findall(r"Requests/sec:\s+([\d.]+)", output)[0]))
    return f"{sorted(rates)[1]:.0f}/s, {server.memory():.0f} MB"


def main() -> None:
    folder, command = sys.argv[1], sys.argv[2:]
    server = Candidate(folder, command)
    report: Callable[..., None] = print
    report("start", f"{server.start:.2f} s, {server.memory():.0f} MB")
    report("/livez", load(server))
    length = b"Content-Length: %d" % len(SECOND)
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SECOND), SECOND)
    te = b"Transfer-Encoding: chunked"
    h2c = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
    ws = (b"Connection: Upgrade", b"Upgrade: websocket")
    report("body after Upgrade: websocket", framing(server, *ws, length))
    report("body after Upgrade: h2c", framing(server, *h2c, length))
    report("chunks after Upgrade: h2c", framing(server, *h2c, te, body=chunked))
    report("length and chunks", framing(server, length, te, body=chunked))
    ten = b"POST /length HTTP/1.0\r\n%b\r\n\r\n%b" % (te, chunked)
    report("HTTP/1.0 with chunks", first_line(server, ten))
    report("no Host", first_line(server, b"GET /livez HTTP/1.1\r\n\r\n"))
    report("two Hosts", first_line(server, b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"))
    report("malformed", first_line(server, b"GET / HTTP/1.1\r\nHost: a\r\n x\r\n\r\n"))
    report("head of 1 MB", first_line(server, b"GET / HTTP/1.1\r\nX: %b\r\n\r\n" % (b"x" * 2**20)))
    report("8 MB of pipelined requests", pipelined(server))
    with ExitStack() as stack:
        added, deaf = unread(server, stack)
        report("50 clients that do not read", added)
        names = ("silent", "head drips", "half a body")
        clients = {name: stack.enter_context(server.connect()) for name in names}
        clients["head drips"].sendall(b"GET / HTTP/1.1\r\nX: ")
        clients["half a body"].sendall(HEAD + b"Content-Length: 9\r\n\r\n1234")
        for name, closed in until_closed(server, clients).items():
            report(f"{name}, closed", closed)
        report("clients that do not read, cut off", f"{sum(map(is_cut, deaf))} of 50")
    with ExitStack() as stack:
        unread(server, stack)
        report("stop with clients that do not read", f"{server.stop():.1f} s")
    server = Candidate(folder, command)
    with server.connect() as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.3)
        took = server.stop()
        with suppress(OSError):
            finished = client.recv(100)[9:12].decode() or "cut"
        report("stop during a request", f"{finished}, {took:.1f} s")


def is_cut(client: socket.socket) -> bool:
    """Say whether the server has reset a connection: sending then fails."""
    try:
        for _ in range(2):
            client.sendall(b"x")
            time.sleep(0.01)
    except TimeoutError:
        return False
    except OSError:
        return True
    return False


if __name__ == "__main__":
    main()
