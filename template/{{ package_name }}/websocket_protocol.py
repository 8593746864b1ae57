"""uvicorn's WebSocket protocol, with limits on what clients send and leave unread.

The server uses it if the package websockets is installed. Each part gives its reason. Remove a part
when uvicorn does the same.
"""

from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from .client_connections import ClientConnection
from .http_protocol import LimitedProtocol

NOT_UTF8 = 1007  # RFC 6455, section 7.4.1


class UpgradableProtocol(LimitedProtocol):
    """HTTP until a handshake: then the connection becomes a WebSocket."""

    def handle_websocket_upgrade(self) -> None:
        headers = dict(self.scope["headers"])
        asked = (self.scope["method"], self.scope["http_version"], headers[b"upgrade"].lower())
        has_body = {b"content-length", b"transfer-encoding"} & headers.keys()
        if asked != ("GET", "1.1", b"websocket") or has_body:
            super().handle_websocket_upgrade()
            return
        self.watch.cancel()
        self.rest = memoryview(b"")  # a client waits for the answer before it sends more
        tasks = len(self.tasks)
        HttpToolsProtocol.handle_websocket_upgrade(self)
        if len(self.tasks) == tasks:  # websockets refuses some heads, which uvicorn forgets
            self.transport.close()


class LimitedWebSocket(ClientConnection, WebSocketsSansIOProtocol):
    async def send(self, message: ASGISendEvent) -> None:
        await self.writable.wait()
        if not self.transport.is_closing():
            data: Any = message.get("bytes") or message.get("text") or b""
            self.scope["state"]["_message_size"] = len(data)
            await super().send(message)
        elif message["type"] == "websocket.send":
            raise ClientDisconnected  # Starlette handles it here, but not what uvicorn may raise
        # uvicorn logs an error for each handshake that is refused with an answer
        self.handshake_complete |= self.transport.is_closing()

    def handle_cont(self, event: object) -> None:
        # uvicorn keeps a list of all fragments: one byte takes as much memory as 45
        message: Any = self.frames[0] if len(self.frames) > 1 else bytearray(self.frames[0])
        fragment: Any = event
        message += fragment.data
        self.frames, fragment.data = [message], b""
        super().handle_cont(fragment)

    def send_receive_event_to_app(self) -> None:
        # uvicorn logs text that is not UTF-8 as an error, and fails if a close frame follows it
        data = b"".join(self.frames)
        if self.curr_msg_data_type == "text" and data.decode(errors="ignore").encode() != data:
            self.conn.fail(NOT_UTF8)
            self.handle_parser_exception()
        else:
            super().send_receive_event_to_app()

    def handle_ping(self) -> None:
        # uvicorn answers every ping, however many answers the client leaves unread. It is enough
        # to answer a later one (RFC 6455, section 5.5.3).
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()
