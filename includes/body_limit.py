class BodyLimit:
    """Refuse bodies over the limit, those too that do not say their length beforehand."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        detail = f"The body is larger than {settings.max_body_size} bytes."
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdecimal() or int(length) > settings.max_body_size:
            await problem(413, detail, headers={"Connection": "close"})(scope, receive, send)
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > settings.max_body_size:
                raise HTTPException(413, detail, headers={"Connection": "close"})
            return message

        await self.app(scope, limited, send)
