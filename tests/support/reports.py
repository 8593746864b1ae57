"""A receiver of Sentry's protocol, such as Sentry or GlitchTip."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .receiver import receiver


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

    def receive(path: str, body: bytes) -> bytes:
        received.paths.append(path)
        received.bodies.append(gzip.decompress(body))
        return b"{}"

    with receiver(receive) as port:
        received = Reports(port)
        yield received
