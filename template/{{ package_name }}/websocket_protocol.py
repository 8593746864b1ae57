"""uvicorn's WebSocket protocol, with limits on what clients send and leave unread.

The server uses it if the package websockets is installed. Each part gives its reason. Remove a part
when uvicorn does the same.
"""

from asyncio import BaseTransport, TimerHandle
from functools import partial

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from .http_protocol import CLIENT_TIMEOUT

NOT_UTF8 = 1007  # RFC 6455, section 7.4.1
STOP_CLIENT_TIMEOUT = 2.0  # seconds; the time to read in when the service stops


class LimitedWebSocket(WebSocketsSansIOProtocol):
    watch: TimerHandle

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.watch.cancel()

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        # uvicorn logs an error for each handshake that is refused with an answer
        self.handshake_complete |= self.close_sent

    def send_receive_event_to_app(self) -> None:
        # uvicorn logs text that is not UTF-8 as an error, and fails if a close frame follows it
        if self.curr_msg_data_type == "text" and not is_utf8(b"".join(self.frames)):
            self.conn.fail(NOT_UTF8)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
            self.transport.close()
        else:
            super().send_receive_event_to_app()

    def handle_ping(self) -> None:
        # uvicorn answers every ping, however many answers the client leaves unread. It is enough
        # to answer a later one (RFC 6455, section 5.5.3).
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def shutdown(self) -> None:
        super().shutdown()
        self.watch.cancel()
        self.watch = self.loop.call_later(STOP_CLIENT_TIMEOUT, self.transport.abort)

    def _watch(self, *, was_closing: bool = False) -> None:
        # uvicorn waits without end for a client to read before it closes the connection
        if was_closing:
            self.transport.abort()
        again = partial(self._watch, was_closing=self.transport.is_closing())
        self.watch = self.loop.call_later(CLIENT_TIMEOUT, again)


def is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
