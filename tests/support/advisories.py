"""A database of known vulnerabilities, with the interface of osv.dev."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Advisories:
    """What the database knows, and what it was asked.

    Attributes:
        url: where it answers.
        vulnerable: the packages that it knows a vulnerability of.
        asked: the packages that it was asked for, each with the version.
    """

    url: str = ""
    vulnerable: set[str] = field(default_factory=set)
    asked: dict[str, str] = field(default_factory=dict)


@contextmanager
def advisories() -> Iterator[Advisories]:
    """Answer as `POST /v1/query` of osv.dev does."""
    database = Advisories()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            package = query["package"]
            database.asked[package["name"]] = query["version"]
            found = {"id": "TEST-1", "summary": "A test", "affected": [{"package": package}]}
            answer = {"vulns": [found]} if package["name"] in database.vulnerable else {}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        database.url = f"http://127.0.0.1:{server.server_port}/v1/query"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield database
        finally:
            server.shutdown()
