"""A receiver of OpenTelemetry's protocol, OTLP over HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from .receiver import receiver


@dataclass
class Span:
    """What a test looks at of a span; the ids are hexadecimal digits."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    failed: bool
    attributes: dict[str, str | int] = field(default_factory=dict)


class Collector:
    """What was sent to an address.

    Attributes:
        url: for `OTEL_EXPORTER_OTLP_ENDPOINT`.
        paths: those that were posted to.
        bodies: what was posted, uncompressed.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.paths: set[str] = set()
        self.bodies: list[bytes] = []

    @property
    def spans(self) -> list[Span]:
        return [
            Span(
                span.name,
                span.trace_id.hex(),
                span.span_id.hex(),
                span.parent_span_id.hex(),
                span.kind,
                span.status.code == span.status.STATUS_CODE_ERROR,
                {a.key: a.value.string_value or a.value.int_value for a in span.attributes},
            )
            for body in self.bodies
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@contextmanager
def collector() -> Iterator[Collector]:
    """Receive traces on a free port."""

    def receive(path: str, body: bytes) -> bytes:
        received.paths.add(path)
        received.bodies.append(body)
        return b""

    with receiver(receive) as port:
        received = Collector(f"http://127.0.0.1:{port}")
        yield received
