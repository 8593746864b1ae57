"""What proxies change: the path, and whose request it is."""

import logging
from collections.abc import Awaitable

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

logger = logging.getLogger(__name__)


class RootPath:
    """Serve under a path, whether a proxy removes it from requests or not.

    A server's `--root-path` adds it to every path, even if the proxy has left it there.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self.app, self.root_path = app, root_path

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if self.root_path and scope["type"] != "lifespan":
            scope["root_path"] = self.root_path
            if not f"{scope['path']}/".startswith(f"{self.root_path}/"):
                scope["path"] = self.root_path + scope["path"]
        return self.app(scope, receive, send)


class ForwardedHeaders:
    """Take the client's address from trusted proxies, and warn once when another one names it."""

    def __init__(self, app: ASGIApp, trusted_proxies: str) -> None:
        self.app = ProxyHeadersMiddleware(app, trusted_proxies)  # type: ignore[arg-type]
        self.warned = False

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if not self.warned and scope["type"] == "http" and scope.get("client"):
            self._warn(scope)
        return self.app(scope, receive, send)  # type: ignore[arg-type]

    def _warn(self, scope: Scope) -> None:
        peer = scope["client"][0]
        if peer not in self.app.trusted_hosts and any(
            name == b"forwarded" or name.startswith(b"x-forwarded-") for name, _ in scope["headers"]
        ):
            self.warned = True
            logger.warning(
                "Forwarded headers from %s are ignored: add it to TRUSTED_PROXIES if it is your "
                "proxy, whose clients otherwise count as one address",
                peer,
            )
