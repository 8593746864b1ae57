class BodyLimit:
    """Refuse bodies over the limit, those too that do not say their length beforehand."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        detail = f"The body is larger than {settings.max_body_size} bytes."
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > settings.max_body_size:
            return problem(413, detail, headers={"Connection": "close"})(scope, receive, send)
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > settings.max_body_size:
                raise HTTPException(413, detail, headers={"Connection": "close"})
            return message

        return self.app(scope, limited, send)
