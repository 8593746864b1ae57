"""A receiver of Sentry's protocol, such as Sentry or GlitchTip."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Reports:
    """What was sent to a project.

    Attributes:
        dsn: for `SENTRY_DSN`.
        paths: those that were posted to.
        bodies: what was posted, uncompressed.
    """

    def __init__(self, port: int) -> None:
        self.dsn = f"http://key@127.0.0.1:{port}/7"
        self.paths: list[str] = []
        self.bodies: list[bytes] = []

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of all envelopes, which have nothing else."""
        found = []
        for body in self.bodies:
            _, item, event = body.splitlines()
            assert json.loads(item)["type"] == "event"
            found.append(json.loads(event))
        return found


@contextmanager
def reports() -> Iterator[Reports]:
    """Receive reports on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.paths.append(self.path)
            received.bodies.append(gzip.decompress(body))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received = Reports(server.server_port)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield received
        finally:
            server.shutdown()
            thread.join()
