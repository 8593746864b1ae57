"""A mail server that keeps what it receives."""

import email
import queue
import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import policy
from email.message import EmailMessage

DEADLINE = 60.0  # seconds


class _Handler(socketserver.StreamRequestHandler):
    """The commands of RFC 5321, section 4.1, that sending one mail takes."""

    def handle(self) -> None:
        self.say("220 ready")
        for line in self.rfile:
            verb = line[:4].upper()
            assert isinstance(self.server, Mailbox)
            self.server.verbs.append(verb.decode())
            if verb == b"DATA":
                self.say("354 go on")
                lines = []
                while (part := self.rfile.readline()) not in {b".\r\n", b""}:
                    lines.append(part.removeprefix(b"."))
                self.server.mails.put(b"".join(lines))
                self.say(self.server.verdict)
            elif verb == b"EHLO":
                self.say("250-welcome")
                self.say("250 AUTH PLAIN")
            elif verb == b"QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 fine")

    def say(self, reply: str) -> None:
        self.wfile.write(f"{reply}\r\n".encode())


class Mailbox(socketserver.ThreadingTCPServer):
    """The server; `url` is its address, and `verdict` what it answers to a mail."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.mails: queue.Queue[bytes] = queue.Queue()
        self.verbs: list[str] = []
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
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
