"""A route behind 100 others in ten routers: in the service, and in FastAPI alone."""

from importlib import import_module

from fastapi import APIRouter, FastAPI


async def answer() -> dict[str, str]:
    return {"status": "alive"}


def add_routes(app: FastAPI) -> FastAPI:
    for area in range(10):
        router = APIRouter(prefix=f"/areas/{area}")
        for number in range(10):
            router.get(f"/{number}")(answer)
        app.include_router(router)
    app.get("/behind")(answer)
    return app


def make_bare() -> FastAPI:
    return add_routes(FastAPI())


def make_service() -> FastAPI:
    app: FastAPI = import_module("src.main").create_app()
    return add_routes(app)
