"""A mail server that keeps what it receives."""

import email
import queue
import re
import socketserver
import ssl
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from email import policy
from email.message import EmailMessage
from pathlib import Path

DEADLINE = 60.0  # seconds


class _Handler(socketserver.StreamRequestHandler):
    """The commands of RFC 5321, section 4.1, that sending one mail takes."""

    def handle(self) -> None:
        self.say("220 ready")
        self.obey()

    def obey(self) -> None:
        assert isinstance(self.server, Mailbox)
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"DATA":
                self.say("354 go on")
                lines = []
                while (part := self.rfile.readline()) not in {b".\r\n", b""}:
                    lines.append(part.removeprefix(b"."))
                self.server.mails.put(b"".join(lines))
                self.say(self.server.verdict)
            elif verb == b"EHLO":
                self.say(f"250-here\r\n{'250-STARTTLS' if self.server.tls else '250-8BITMIME'}")
                self.say("250 AUTH PLAIN")
            elif verb == b"STAR" and self.server.tls:
                self.say("220 go on")
                with self.server.tls.wrap_socket(self.request, server_side=True) as self.request:
                    self.setup()
                    self.obey()
                return
            elif verb == b"AUTH":
                self.server.logins.append(b64decode(line.split()[2]).decode())
                self.say("235 welcome")
            elif verb == b"QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 fine")

    def say(self, reply: str) -> None:
        self.wfile.write(f"{reply}\r\n".encode())


class Mailbox(socketserver.ThreadingTCPServer):
    """The server; `url` is its address, and `verdict` what it answers to a mail.

    With a certificate and its key, it offers STARTTLS.
    """

    daemon_threads = True

    def __init__(self, certificate: tuple[Path, Path] | None = None, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.mails: queue.Queue[bytes] = queue.Queue()
        self.logins: list[str] = []
        self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if certificate else None
        if self.tls and certificate:
            self.tls.load_cert_chain(*certificate)
        self.verdict = "250 kept"
        self.url = f"smtp://127.0.0.1:{self.server_address[1]}"

    def wait(self) -> EmailMessage:
        """Return the next mail, when it has come."""
        return email.message_from_bytes(self.mails.get(timeout=DEADLINE), policy=policy.default)

    def token(self) -> str:
        """Return the token of the link in the next mail."""
        found = re.findall(r"#token=([\w-]+)", str(self.wait().get_content()))
        return str(found[0])


@contextmanager
def mailbox(certificate: tuple[Path, Path] | None = None, port: int = 0) -> Iterator[Mailbox]:
    with Mailbox(certificate, port) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
