"""Raw HTTP over a socket, as hostile clients send it."""

import re
import socket
from contextlib import suppress
from pathlib import Path

from .services import DEADLINE, Server


def connect(server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=DEADLINE)


def rest(client: socket.socket) -> bytes:
    """Read what a server sends until it closes the connection."""
    received = b""
    with suppress(ConnectionError):  # it may not read all that was sent
        while data := client.recv(65536):
            received += data
    return received


def read_answer(client: socket.socket) -> bytes:
    """Read one answer that has a Content-Length."""
    received = b""
    while not (head := re.match(rb"(?s).*?\r\n\r\n", received)):
        data = client.recv(65536)
        assert data, f"the connection was closed after {received!r}"
        received += data
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head[0])
    while length and len(received) < head.end() + int(length[1]):
        data = client.recv(65536)
        assert data, f"the connection was closed after {received!r}"
        received += data
    return received


def resident(server: Server) -> int:
    """Read the memory that a server has now, in kilobytes."""
    return _memory(server, "VmRSS")


def peak(server: Server) -> int:
    """Read the most memory that a server has had, in kilobytes."""
    return _memory(server, "VmHWM")


def _memory(server: Server, name: str) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="utf-8")
    return int(re.findall(rf"{name}:\s+(\d+) kB", status)[0])
