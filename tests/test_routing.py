"""Routes answer alike whether FastAPI finds them and answers, or the service does."""

import importlib.util
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import (
    APIRouter,
    Cookie,
    Depends,
    FastAPI,
    Header,
    HTTPException,
    Query,
    Request,
    Response,
    WebSocket,
)
from fastapi.exceptions import ResponseValidationError
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from pydantic import BaseModel
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Mount, Route

from tools.render import REPOSITORY

PACKAGE = REPOSITORY / "template" / "{{ package_name }}"
DISHES = [
    ("GET", "/v1/dishes"),
    ("GET", "/v1/dishes/7"),
    ("GET", "/v1/dishes/seven"),
    ("GET", "/v1/dishes/today"),
    ("POST", "/v1/dishes"),
    ("PUT", "/v1/dishes"),
    ("DELETE", "/v1/dishes/7"),
    ("GET", "/v1/dishes/7/spices/salt"),
    ("GET", "/v1/dishes/7/spices"),
    ("POST", "/v1/dishes/7/spices"),
    ("GET", "/v1/plain/soup"),
    ("GET", "/v1/mounted/where"),
    ("GET", "/v1/where"),
    ("GET", "/any/size"),
    ("POST", "/any/size"),
    ("POST", "/small/size"),
    ("GET", "/frontend/index.html"),
    ("GET", "/frontend/api"),
    ("GET", "/dishes"),
    ("GET", "/nowhere"),
]


def load(name: str) -> Any:
    """Import a module of the template that needs no other."""
    spec = importlib.util.spec_from_file_location(f"template_{name}", PACKAGE / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def routing() -> Any:
    return load("routing")


@pytest.fixture(scope="module")
def direct_routes() -> Any:
    return load("direct_routes")


@pytest.fixture(scope="module")
def flatten(routing: Any) -> Callable[[list[BaseRoute]], list[BaseRoute]]:
    return lambda routes: list(routing.flatten(routes))


def table() -> str:
    return "by the door"


Table = Annotated[str, Depends(table)]


def note(request: Request) -> None:
    request.state.noted = [*getattr(request.state, "noted", ()), request.scope["path"]]


def make_dishes() -> APIRouter:
    spices = APIRouter(prefix="/spices", tags=["spices"], dependencies=[Depends(note)])

    @spices.get("/{spice}")
    async def read_spice(dish: int, spice: str, request: Request) -> list[Any]:
        return [dish, spice, *request.state.noted]

    @spices.post("", responses={409: {"description": "There is enough."}})
    async def add_spice(dish: int, table: Table) -> list[Any]:
        return [dish, table]

    dishes = APIRouter(prefix="/dishes", tags=["dishes"])

    @dishes.get("", name="dishes")
    async def list_dishes(table: Table) -> str:
        return table

    @dishes.get("/{dish}")
    async def read_dish(dish: str) -> str:
        return dish

    @dishes.get("/today")  # after a route that takes it
    async def read_today() -> str:
        return "never"

    @dishes.delete("/{dish}", status_code=204)
    async def remove_dish(dish: int) -> None: ...

    more = APIRouter(prefix="/dishes")

    @more.post("", status_code=201)
    async def add_dish() -> None: ...

    dishes.include_router(spices, prefix="/{dish}")
    together = APIRouter()
    together.include_router(more)
    together.include_router(dishes)
    return together


def make_others() -> APIRouter:
    others = APIRouter()

    @others.get("/where")
    async def where(request: Request) -> str:
        return str(request.url_for("dishes"))

    @others.websocket("/socket/{name}")
    async def socket(socket: WebSocket, name: str, table: Table) -> None:
        await socket.accept()
        await socket.send_text(f"{name} {table}")
        await socket.close()

    others.routes.append(Route("/plain/{name}", lambda request: PlainTextResponse("plain")))
    others.routes.append(Mount("/mounted", make_app(lambda app: app)))
    return others


def make_app(include: Callable[[FastAPI], object], frontend: Path | None = None) -> FastAPI:
    app = FastAPI()

    @app.get("/where")
    async def where(request: Request) -> str:
        return str(request.url)

    include(app)
    if frontend:
        files = APIRouter()
        files.frontend("/frontend", directory=frontend)

        @files.get("/frontend/api")
        async def api() -> str:
            return "before the files"

        app.include_router(files)
    return app


def include_all(app: FastAPI) -> None:
    app.include_router(make_dishes(), prefix="/v1", dependencies=[Depends(note)], tags=["v1"])
    app.include_router(make_others(), prefix="/v1")
    bodies = APIRouter()

    @bodies.post("/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    app.include_router(bodies, prefix="/any")
    app.include_router(bodies, prefix="/small", max_body_size=1)


@pytest.fixture
def apps(tmp_path: Path, flatten: Any, routing: Any, direct_routes: Any) -> tuple[FastAPI, FastAPI]:
    """An application as it is, and the same one with routes that are found and answered directly."""
    (tmp_path / "index.html").write_text("hello")
    plain, flat = (make_app(include_all, tmp_path) for _ in range(2))
    flat.router.routes[:] = flatten(flat.router.routes)
    direct_routes.answer_directly(flat.router.routes)
    flat.router.middleware_stack = routing.DirectRouter(flat.router)
    return plain, flat


@pytest.mark.parametrize(("method", "path"), DISHES)
def test_answers_stay(apps: tuple[FastAPI, FastAPI], method: str, path: str) -> None:
    answers = []
    for app in apps:
        with TestClient(app, raise_server_exceptions=False) as client:
            body = "two" if method == "POST" else None
            answers.append(client.request(method, path, content=body))
    plain, flat = answers

    assert (flat.status_code, flat.text) == (plain.status_code, plain.text)
    assert flat.headers.items() == plain.headers.items()


def test_documentation_stays(apps: tuple[FastAPI, FastAPI]) -> None:
    plain, flat = apps

    assert flat.openapi() == plain.openapi()
    assert "/v1/dishes/{dish}/spices/{spice}" in flat.openapi()["paths"]


def test_websockets_stay(apps: tuple[FastAPI, FastAPI]) -> None:
    for app in apps:
        with TestClient(app).websocket_connect("/v1/socket/soup") as socket:
            assert socket.receive_text() == "soup by the door"


def test_dependencies_can_be_overridden(apps: tuple[FastAPI, FastAPI]) -> None:
    for app in apps:
        app.dependency_overrides[table] = lambda: "in the garden"
        client = TestClient(app)
        assert client.get("/v1/dishes").json() == "in the garden"
        assert client.post("/v1/dishes/7/spices").json() == [7, "in the garden"]
        with client.websocket_connect("/v1/socket/soup") as socket:
            assert socket.receive_text() == "soup in the garden"


def test_all_overrides_can_be_replaced(direct_routes: Any) -> None:
    app = make_menu()
    direct_routes.answer_directly(app.routes)
    client = TestClient(app)
    assert client.get("/dishes/7?limit=3").json()["name"].startswith("7 3 3 ")

    app.dependency_overrides = {read_limit: lambda: 9}

    assert client.get("/dishes/7?limit=3").json()["name"].startswith("7 9 9 ")


def test_routes_are_found_directly(apps: tuple[FastAPI, FastAPI]) -> None:
    _, flat = apps

    found = {route.path for route in flat.routes if isinstance(route, APIRoute)}
    assert {"/v1/dishes", "/v1/dishes/{dish}/spices/{spice}"} <= found
    assert flat.url_path_for("dishes") == "/v1/dishes"


def test_routers_that_are_included_later_answer(apps: tuple[FastAPI, FastAPI]) -> None:
    later = APIRouter()
    later.get("/later")(table)
    for app in apps:
        app.include_router(later)
        assert TestClient(app).get("/later").json() == "by the door"


@pytest.mark.parametrize("limits", [{"form_limits": {"max_fields": 1}}, {"max_body_size": 1}])
def test_routers_with_limits_are_entered(flatten: Any, limits: dict[str, Any]) -> None:
    app = make_app(lambda app: app.include_router(make_dishes(), **limits))

    assert flatten(app.routes) == app.routes


class Dish(BaseModel):
    name: str
    price: int | None = None


class Order:
    """Counts, in the answers of `make_menu`, how often a dependency is called."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self) -> int:
        self.count += 1
        return self.count


async def read_limit(limit: Annotated[int, Query(ge=1)] = 5) -> int:
    return limit


async def refuse(request: HTTPConnection, limit: Annotated[int, Depends(read_limit)]) -> int:
    if "forbidden" in request.query_params:
        raise HTTPException(403, "No.", {"X-Reason": "because"})
    return limit


async def lend() -> AsyncIterator[str]:
    yield "lent"


def make_menu() -> FastAPI:
    """An application with routes that are answered directly, and with some that are not."""
    app = FastAPI()
    order = Order()

    @app.get("/dishes/{dish}", status_code=203, response_model=Dish)
    async def read(
        dish: int,
        limit: Annotated[int, Depends(refuse)],
        again: Annotated[int, Depends(read_limit)],
        size: Annotated[list[str], Query()] = [],  # noqa: B006 - FastAPI copies it
        kind: Annotated[str, Header(alias="X-Kind")] = "plain",
        seat: Annotated[str | None, Cookie()] = None,
    ) -> dict[str, Any]:
        return {"name": f"{dish} {limit} {again} {size} {kind} {seat}", "hidden": 1}

    @app.get("/orders", dependencies=[Depends(order)])
    async def orders(
        one: Annotated[int, Depends(order)],
        two: Annotated[int, Depends(order, use_cache=False)],
        three: Annotated[int, Depends(order)],
        other: Annotated[int, Depends(order, scope="function")],
    ) -> list[int]:
        return [value - one for value in (one, two, three, other)]

    @app.get("/brief", response_model_exclude_none=True)
    async def brief() -> Dish:
        return Dish(name="soup")

    @app.get("/response", response_model=Dish)
    async def response() -> Response:
        return PlainTextResponse("soup", 418, {"X-Spice": "salt"})

    @app.get("/wrong", response_model=Dish)
    async def wrong() -> dict[str, str]:
        return {"name": "soup", "price": "high"}

    @app.get("/header", response_model=Dish)
    async def header(response: Response) -> dict[str, str]:
        response.headers["X-Spice"] = "salt"
        response.status_code = 202
        return {"name": "soup"}

    @app.get("/lent", response_model=Dish)
    async def lent(name: Annotated[str, Depends(lend)]) -> dict[str, str]:
        return {"name": name}

    @app.get("/thread")
    def thread(table: Table) -> str:
        return table

    @app.get("/nothing", status_code=204)
    async def nothing() -> None: ...

    @app.post("/dishes")
    async def add(dish: Dish) -> Dish:
        return dish

    return app


MENU = [
    ("/dishes/7?size=a&size=b", {"X-Kind": "round", "Cookie": "seat=3"}),
    ("/dishes/7?limit=9", {}),
    ("/dishes/seven?limit=0", {}),
    ("/dishes/seven?forbidden", {}),
    ("/dishes/7?limit=0&forbidden", {}),
    ("/orders", {}),
    ("/brief", {}),
    ("/response", {}),
    ("/wrong", {}),
    ("/header", {}),
    ("/lent", {}),
    ("/thread", {}),
    ("/nothing", {}),
    ("/nowhere", {}),
]


@pytest.fixture(scope="module")
def menus(direct_routes: Any) -> list[TestClient]:
    """Clients of an application as it is, and of the same one with direct answers."""
    plain, direct = make_menu(), make_menu()
    direct_routes.answer_directly(direct.routes)
    return [TestClient(app, raise_server_exceptions=False) for app in (plain, direct)]


@pytest.mark.parametrize(("path", "headers"), MENU)
def test_direct_answers_are_those_of_fastapi(
    menus: list[TestClient], path: str, headers: dict[str, str]
) -> None:
    for method in ("GET", "HEAD", "POST"):
        one, other = (client.request(method, path, headers=headers) for client in menus)

        assert (other.status_code, other.text) == (one.status_code, one.text)
        assert other.headers.items() == one.headers.items()


def test_only_simple_routes_are_answered_directly(direct_routes: Any) -> None:
    app = make_menu()

    direct_routes.answer_directly(app.routes)

    routes = [route for route in app.routes if isinstance(route, APIRoute)]
    direct = {r.path for r in routes if isinstance(r.app, direct_routes.DirectAnswer)}
    assert direct == {"/dishes/{dish}", "/orders", "/brief", "/response", "/wrong"}


def test_a_wrong_answer_names_its_route(direct_routes: Any) -> None:
    app = make_menu()
    direct_routes.answer_directly(app.routes)

    with pytest.raises(ResponseValidationError, match="GET /wrong"):
        TestClient(app).get("/wrong")


def test_a_hundred_routes_do_not_slow_down_the_next_one(flatten: Any, routing: Any) -> None:
    app = FastAPI()
    for number in range(100):
        app.get(f"/{number}")(table)
    app.get("/last")(table)
    app.router.middleware_stack = router = routing.DirectRouter(app.router)

    assert TestClient(app).get("/last").json() == "by the door"
    assert [route.path for route in router.by_path["/last"].routes] == ["/last"]
