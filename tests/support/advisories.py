"""A database of known vulnerabilities, with the interface of osv.dev."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from .receiver import receiver


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

    def answer(_: str, body: bytes) -> bytes:
        query = json.loads(body)
        package = query["package"]
        database.asked[package["name"]] = query["version"]
        found = {"id": "TEST-1", "summary": "A test", "affected": [{"package": package}]}
        return json.dumps(
            {"vulns": [found]} if package["name"] in database.vulnerable else {}
        ).encode()

    with receiver(answer) as port:
        database.url = f"http://127.0.0.1:{port}/v1/query"
        yield database
