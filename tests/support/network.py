"""Servers that misbehave as networks and databases do."""

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

DEADLINE = 180.0  # seconds; to install packages can take a minute


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds.

    Raises:
        AssertionError: it did not within the deadline.
    """
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


@contextmanager
def silent_server() -> Iterator[int]:
    """Listen on a port, accept connections, and never answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield int(listener.getsockname()[1])


MYSQL_KEY = b"""-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA6SSPJt46N8OPbY6s/hCo
vKTzqQFO02zUxOztthTKFmpUKE+iEBmjKZLaN6JcEQ4zMQL3mH7ziwyiw3HS13v0
4la8FUqv7TugCXkzfM80TFrPGOgDuNgN1jO12EkbvFpNed/jt9bdzysWToHuBDNw
2s+ziGUQmW0zjnzqosTVrN63YvLKQY2J4QIpWlYBd+cufokhJeTzk62blJKKlda/
AtET5lQVrefytxZJkawtuQeutWSa0mIqRapAhDcR5e77ZC9LU4kdd/oPfgUR7R9B
odieujJyRVqJFfSULkL8DUbJae9qbomuc1KiXBfJ1ZvDQ06XbvmsV0kulTjxIwaj
TwIDAQAB
-----END PUBLIC KEY-----
"""


@contextmanager
def mysql_8() -> Iterator[int]:
    """Greet as MySQL 8 does, ask for a password of its default kind without TLS, and deny access.

    What is said is in MySQL's "Client/Server Protocol", pages "Protocol::HandshakeV10" and "Caching
    SHA-2 Authentication".
    """
    can = 0x002FA20D  # protocol 4.1, plugins for passwords, no TLS
    greeting = (
        b"\x0a8.4.0\0" + (1).to_bytes(4, "little") + b"8 chars.\0" + can.to_bytes(4, "little")[:2]
        + b"\x2d\x02\x00" + can.to_bytes(4, "little")[2:] + b"\x15" + bytes(10)
        + b"and 12 more.\0caching_sha2_password\0"
    )  # fmt: skip
    full_check, key = b"\x01\x04", b"\x01" + MYSQL_KEY
    denied = b"\xff" + (1045).to_bytes(2, "little") + b"#28000Access denied"

    def converse() -> None:
        with suppress(OSError), listener.accept()[0] as client:
            for number, answer in enumerate((greeting, full_check, key, denied)):
                header = len(answer).to_bytes(3, "little") + bytes([2 * number])
                client.sendall(header + answer)
                client.recv(1024)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=converse, daemon=True).start()
        yield int(listener.getsockname()[1])


class Proxy:
    """Stands before a database server and can go away and come back on the same port."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 0)
        self._sockets: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self._port = 0
        self._flowing = threading.Event()
        self._flowing.set()
        self.open()
        self.url = url.replace(f":{parts.port}/", f":{self._port}/")

    def open(self) -> None:
        """Accept connections (again)."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """Cut all connections and accept no more."""
        if self._listener:
            # unlike close, it wakes the thread that accepts
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for connection in self._sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._sockets.clear()

    def freeze(self) -> None:
        """Keep all connections and pass nothing on."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Pass everything on again, what came in between included."""
        self._flowing.set()

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        peers = {client: server, server: client}
        with client, server, suppress(OSError):
            while True:
                for source in select.select(list(peers), [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    self._flowing.wait(DEADLINE)
                    peers[source].sendall(data)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                threading.Thread(target=self._relay, args=(client, server), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.thaw()
        self.close()
