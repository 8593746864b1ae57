"""Routes answer alike whether FastAPI finds them and answers, or the service does."""

import importlib.util
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal

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
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from pydantic import AliasChoices, BaseModel, BeforeValidator, Json
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
    return lambda routes: list(routing.flatten(routes, []))


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
def apps(tmp_path: Path, routing: Any, direct_routes: Any) -> tuple[FastAPI, FastAPI]:
    """An application as it is, and the same one with routes that are found and answered directly."""
    (tmp_path / "index.html").write_text("hello")
    plain, flat = (make_app(include_all, tmp_path) for _ in range(2))
    make_direct(flat, routing, direct_routes)
    return plain, flat


def make_direct(app: FastAPI, routing: Any, direct_routes: Any) -> None:
    router = routing.DirectRouter(app.router, direct_routes.answer_directly)
    app.router.middleware_stack = router
    app.middleware_stack = app.build_middleware_stack()
    direct_routes.answer_early(app.middleware_stack, router.find)


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


def test_all_overrides_can_be_replaced(routing: Any, direct_routes: Any) -> None:
    app = make_menu()
    make_direct(app, routing, direct_routes)
    client = TestClient(app)
    assert client.get("/dishes/7?limit=3").json()["name"].startswith("7 3 3 ")
    assert client.get("/limit?limit=3").json() == 3

    app.dependency_overrides = {read_limit: lambda: 9}

    assert client.get("/dishes/7?limit=3").json()["name"].startswith("7 9 9 ")
    assert client.get("/limit?limit=3").json() == 9


def test_routes_are_found_directly(apps: tuple[FastAPI, FastAPI]) -> None:
    _, flat = apps

    router: Any = flat.router.middleware_stack
    assert ("GET", "/v1/dishes") in router.certain
    assert "/v1/dishes/{dish}/spices/{spice}" in {
        getattr(r, "path", "") for r in router.others.routes
    }
    assert flat.url_path_for("dishes") == "/v1/dishes"


def test_routers_that_are_included_later_answer(apps: tuple[FastAPI, FastAPI]) -> None:
    for app in apps:
        later = APIRouter()
        later.get("/later")(table)
        app.include_router(later)
        assert TestClient(app).get("/later").json() == "by the door"
        later.get("/still/later")(table)
        assert TestClient(app).get("/still/later").json() == "by the door"
        inner = APIRouter()
        later.include_router(inner, prefix="/inner")
        assert TestClient(app).get("/inner/latest").status_code == 404
        inner.get("/latest")(table)
        assert TestClient(app).get("/inner/latest").json() == "by the door"


def test_routes_that_are_replaced_later_answer(routing: Any, direct_routes: Any) -> None:
    for is_direct in (False, True):
        app = make_menu()
        if is_direct:
            make_direct(app, routing, direct_routes)
        client = TestClient(app)
        for number in (1, 2):
            other = FastAPI()
            other.get(f"/{number}", dependencies=[Depends(read_limit)])(table)
            app.router.routes[-1] = other.router.routes[-1]  # as many as before
            assert client.get(f"/{number}").json() == "by the door"
        assert client.get("/1").status_code == 404
        app.router.routes.pop()
        app.get("/2", dependencies=[Depends(refuse)])(table)
        assert client.get("/2?forbidden").status_code == 403

        app.router.routes.insert(0, Route("/{name}", lambda _: PlainTextResponse("first")))
        del app.router.routes[1]

        assert client.get("/brief").text == "first"


def test_event_loops_of_several_threads_find_the_same_routes(
    routing: Any, direct_routes: Any
) -> None:
    app = make_menu()
    make_direct(app, routing, direct_routes)
    with ThreadPoolExecutor(4) as pool:
        for number in range(20):
            app.get(f"/{number}")(table)
            path = f"/{number}"
            answers = [pool.submit(TestClient(app).get, path) for _ in range(4)]
            assert {answer.result().status_code for answer in answers} == {200}


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

    @app.get("/limit")
    async def limit(limit: Annotated[int, Depends(read_limit)]) -> int:
        return limit

    @app.get("/scalars")
    async def scalars(
        kind: Literal["soup", "salad"],
        price: Annotated[Decimal | None, Query(alias="cost", ge=1)] = None,
        day: date = date(2026, 1, 2),
        is_hot: bool | None = True,
        length: Annotated[int, BeforeValidator(len)] = 0,
        x_table: Annotated[str | int, Header()] = 7,
    ) -> list[str]:
        return [repr(value) for value in (kind, price, day, is_hot, length, x_table)]

    @app.get("/names")
    async def names(
        name: Annotated[str, Query(validation_alias=AliasChoices("pick", "kind"))] = "none",
    ) -> str:
        return name

    @app.get("/late")
    async def late(late: Annotated[int, Query(validate_default=True, ge=1)] = 0) -> int:
        return late

    @app.get("/new")
    async def new(number: Annotated[int, Query(default_factory=count().__next__)]) -> int:
        return number

    @app.get("/shapes")
    async def shapes(
        ids: Annotated[str | list[str], Query()], order: Annotated[Json[int] | None, Query()] = None
    ) -> list[str]:
        return [repr(value) for value in (ids, order)]

    @app.get("/dish")
    async def dish(dish: Annotated[Dish, Query()]) -> Dish:
        return dish

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
    ("/limit", {}),
    ("/limit?limit=2&limit=3", {}),
    ("/limit?limit=", {}),
    *(
        (f"/{path}{query}", headers)
        for path in ("dish", "late", "names", "new", "scalars", "shapes")
        for query, headers in [
            ("", {}),
            ("?kind=soup", {}),
            ("?kind=bread&cost=x&day=1", {}),
            ("?kind=salad&cost=1.50&day=2026-02-03&is_hot=no&length=abc", {"X-Table": "3"}),
            ("?kind=salad&price=2&cost=0&pick=b&late=2", {}),
            ('?order={"a":1}&ids=2&ids=3&name=soup&price=4', {}),
            ("?order=x&ids=x", {"X-Table": "by the door"}),
        ]
    ),
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
def menus(routing: Any, direct_routes: Any) -> list[TestClient]:
    """Clients of an application as it is, and of the same one with direct answers."""
    plain, direct = make_menu(), make_menu()
    make_direct(direct, routing, direct_routes)
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
    parameters = {"/dish", "/late", "/limit", "/names", "/new", "/scalars", "/shapes"}
    others = {"/dishes/{dish}", "/orders", "/brief", "/response", "/wrong"}
    assert direct == parameters | others


def test_a_wrong_answer_names_its_route(direct_routes: Any) -> None:
    app = make_menu()
    direct_routes.answer_directly(app.routes)

    with pytest.raises(ResponseValidationError, match="GET /wrong"):
        TestClient(app).get("/wrong")


def test_a_malformed_request_names_its_route(direct_routes: Any) -> None:
    app = make_menu()
    direct_routes.answer_directly(app.routes)
    seen: list[str] = []

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        seen.append(str(error))
        return Response(status_code=422)

    TestClient(app).get("/limit?limit=0")
    assert "GET /limit" in seen[0]


def test_a_route_before_the_others_answers_from_then_on(routing: Any, direct_routes: Any) -> None:
    app = make_menu()
    make_direct(app, routing, direct_routes)
    client = TestClient(app)
    assert client.get("/brief").json() == {"name": "soup"}

    app.router.routes.insert(0, Route("/{name}", lambda _: PlainTextResponse("first")))

    assert client.get("/brief").text == "first"


def test_an_application_answers_below_a_path_with_parameters(
    routing: Any, direct_routes: Any
) -> None:
    answers = []
    for is_direct in (False, True):
        inner = FastAPI()

        @inner.get("/where")
        async def where(request: Request) -> dict[str, Any]:
            return {**request.path_params, "url": str(request.url), "root": request["root_path"]}

        if is_direct:
            make_direct(inner, routing, direct_routes)
        outer = FastAPI()
        outer.mount("/shops/{shop}", inner)
        answers.append(TestClient(outer).get("/shops/7/where").json())

    assert answers[0] == answers[1]
    assert answers[0]["shop"] == "7"


def test_a_hundred_routes_do_not_slow_down_the_next_one(flatten: Any, routing: Any) -> None:
    app = FastAPI()
    for number in range(100):
        app.get(f"/{number}")(table)
    app.get("/last")(table)
    app.router.middleware_stack = router = routing.DirectRouter(app.router, list)

    assert TestClient(app).get("/last").json() == "by the door"
    assert [route.path for route in router.by_path["/last"].routes] == ["/last"]
