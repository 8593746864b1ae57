"""FastAPI's documented features work in the service as its documentation says."""

import gzip
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from .conftest import MakeService, Renders
from .support.databases import new_database
from .support.services import DEADLINE, Server, Service, install
from .support.sockets import connect

TEAM = """

import asyncio
import gzip
import os
import warnings
from pathlib import Path
from typing import Any

from fastapi import APIRouter, BackgroundTasks, Body, HTTPException, Response, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as StarletteHTTPException

from .exceptions import NotFoundError
from .problems import add_error_handlers


class OutOfStockError(Exception):
    pass


class Impossible(Exception):
    pass


@app.exception_handler(OutOfStockError)
async def out_of_stock(_: Request, error: OutOfStockError) -> JSONResponse:
    return JSONResponse({"sold_out": str(error)}, 410)


@app.exception_handler(Exception)
async def unexpected(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"unexpected": type(error).__name__}, 500)


@app.get("/raise/{kind}")
async def raise_(kind: str) -> None:
    raise {
        "stock": OutOfStockError("soup"),
        "bug": Impossible("secret"),
        "timeout": TimeoutError("of another server"),
        "refused": ConnectionRefusedError("by another server"),
        "domain": NotFoundError("There is no such dish."),
        "dict": HTTPException(409, {"code": "taken", "detail": "Choose another name."}),
        "list": HTTPException(400, ["a", "b"]),
        "no-content": HTTPException(204),
        "not-modified": HTTPException(304, headers={"ETag": "x"}),
    }[kind]


@app.delete("/nothing", status_code=204)
async def nothing() -> None: ...


@app.get("/not-modified", status_code=304)
async def not_modified() -> Response:
    return Response(status_code=304, headers={"ETag": '"1"'})


@app.post("/upload", max_body_size=5_000_000)
async def upload(request: Request) -> int:
    return len(await request.body())


@app.post("/small", max_body_size=10)
async def small(request: Request) -> int:
    return len(await request.body())


@app.post("/usual")
async def usual(request: Request) -> int:
    return len(await request.body())


@app.get("/text")
async def text() -> str:
    return "text"


@app.head("/own-head")
async def own_head() -> Response:
    return Response(headers={"X-Own": "yes"})


@app.get("/own-head")
async def own_get() -> str:
    return "got"


@app.get("/endless")
async def endless() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0.01)

    return StreamingResponse(parts())


@app.get("/background")
async def background(tasks: BackgroundTasks) -> None:
    tasks.add_task(asyncio.sleep, 1)


@app.get("/failing-background")
async def failing_background(tasks: BackgroundTasks) -> None:
    def fail() -> None:
        raise Impossible("in the background")

    tasks.add_task(fail)


@app.get("/warn")
async def warn() -> None:
    warnings.warn("the soup is hot", stacklevel=1)


@app.get("/where")
async def where(request: Request) -> dict[str, str]:
    return {"url": str(request.url), "link": str(request.url_for("where"))}


@app.websocket("/socket")
async def socket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


sub = FastAPI()
add_error_handlers(sub)


@sub.get("/raise/{kind}")
async def raise_in_sub(kind: str) -> None:
    await raise_(kind)


@sub.get("/text")
async def text_of_sub() -> str:
    return "text"


@sub.post("/upload", max_body_size=5_000_000)
async def upload_to_sub(request: Request) -> int:
    return len(await request.body())


app.mount("/sub", sub)
own = FastAPI()
add_error_handlers(own)
own.get("/text")(text)


@own.exception_handler(StarletteHTTPException)
async def own_http_error(_: Request, error: StarletteHTTPException) -> PlainTextResponse:
    return PlainTextResponse("own", error.status_code)


app.mount("/own", own)
app.debug = "DEBUG" in os.environ


class GzipRequest(Request):
    async def body(self) -> bytes:
        return gzip.decompress(await super().body())


class GzipRoute(APIRoute):
    def get_route_handler(self) -> Any:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Any:
            return await handler(GzipRequest(request.scope, request.receive))

        return handle


compressed = APIRouter(route_class=GzipRoute)


@compressed.post("/sum")
async def add_up(numbers: list[int]) -> int:
    return sum(numbers)


app.include_router(compressed, prefix="/compressed")


@asynccontextmanager
async def other_session(_: FastAPI) -> AsyncIterator[dict[str, str]]:
    yield {"session": "of another library"}


named = APIRouter(lifespan=other_session, generate_unique_id_function=lambda r: f"my-{r.name}")


@named.get("/state")
async def state(request: Request) -> str:
    return str(request.state.session)


calls = APIRouter()


@calls.post("/paid", name="callback")
async def paid(amount: int) -> None: ...


@app.webhooks.post("restocked")
async def restocked(amount: int) -> None: ...


app.include_router(named, prefix="/named", callbacks=calls.routes)
app.mount("/static", StaticFiles(directory=Path(__file__).parent))


class Shout:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/shout":
            raise Impossible("in middleware")
        await self.app(scope, receive, send)
"""
HANDSHAKE = (
    b"GET /socket?token=secret HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
OWN = "            # Add your own middleware here"
LARGE = b"x" * 2_000_000


@pytest.fixture(scope="module")
def team(_renders: Renders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a team's code."""
    folder = tmp_path_factory.mktemp("fastapi")
    rendered, _ = _renders("sqlite")
    shutil.copytree(rendered, folder / "service", ignore=shutil.ignore_patterns(".venv"))
    with new_database("sqlite", folder) as database:
        service = Service(folder / "service", Path(), database)
        service.edit("pyproject.toml", '    "uvicorn>=', '    "websockets>=17.4",\n    "uvicorn>=')
        connections = '"connections": {"default": connection(settings)'
        service.edit("src/database/config.py", connections, f'{connections}, "other": MEMORY')
        service.edit(
            "src/database/config.py", "MODELS = [", 'MEMORY = "sqlite://:memory:"\nMODELS = ['
        )
        service.commands = install(service.folder, "sqlite-websockets")
        main = service.folder / "src" / "main.py"
        text = main.read_text(encoding="utf-8")
        text = text.replace(OWN, "            Middleware(lambda app: Shout(app)),\n" + OWN)
        main.write_text(text + TEAM, encoding="utf-8")
        service.upgrade()
        yield service
        service.kill()


@pytest.fixture(scope="module")
def served(team: Service) -> Iterator[Server]:
    """The team's service, in production."""
    with team.serve(ENVIRONMENT="production", CORS_ORIGINS="https://a.example") as server:
        yield server


def get(server: Server, path: str, **options: object) -> httpx2.Response:
    return httpx2.get(server.url + path, timeout=DEADLINE, **options)  # type: ignore[arg-type]


def lines_of(server: Server, response: httpx2.Response, count: int = 1) -> list[dict[str, object]]:
    """Wait for the log lines of a request."""
    request_id = response.headers["x-request-id"]
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        lines = [json.loads(line) for line in server.output.splitlines() if request_id in line]
        if len(lines) >= count:
            return lines
        time.sleep(0.01)
    raise AssertionError(f"no {count} lines of {request_id}:\n{server.output}")


def test_own_exception_handlers_are_called(served: Server) -> None:
    stock, bug = get(served, "/raise/stock"), get(served, "/raise/bug")

    assert (stock.status_code, stock.json()) == (410, {"sold_out": "soup"})
    assert (bug.status_code, bug.json()) == (500, {"unexpected": "Impossible"})
    assert bug.headers["x-content-type-options"] == "nosniff"
    lines = lines_of(served, bug, 2)
    assert [line["event"] for line in lines] == ["The request failed", "Request"]
    assert "Impossible" in json.dumps(lines[0]["exception"])


def test_own_handler_of_http_errors_is_called_for_all(served: Server) -> None:
    wrong = httpx2.put(served.url + "/own/text", timeout=DEADLINE)

    assert (wrong.status_code, wrong.text) == (405, "own")
    assert get(served, "/own/nowhere").text == "own"


def test_debug_shows_the_traceback(team: Service) -> None:
    with team.serve(ENVIRONMENT="production", DEBUG="1") as server:
        response = get(server, "/raise/bug", headers={"Accept": "text/html"})

    assert response.status_code == 500
    assert "Impossible" in response.text
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["x-request-id"]


@pytest.mark.parametrize("kind", ["timeout", "refused"])
def test_errors_of_other_servers_are_not_the_databases(served: Server, kind: str) -> None:
    response = get(served, f"/raise/{kind}")

    assert response.status_code == 500
    assert "exception" in lines_of(served, response, 2)[0]


def test_errors_of_own_middleware_are_answered_and_logged_like_others(served: Server) -> None:
    response = get(served, "/shout")

    assert (response.status_code, response.json()) == (500, {"unexpected": "Impossible"})
    assert len(lines_of(served, response, 2)) == 2


@pytest.mark.parametrize("place", ["", "/sub"])
def test_errors_are_problems(served: Server, place: str) -> None:
    domain = get(served, f"{place}/raise/domain")
    taken = get(served, f"{place}/raise/dict")
    several = get(served, f"{place}/raise/list")

    assert domain.json()["detail"] == "There is no such dish."
    assert taken.json() == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "Choose another name.",
        "code": "taken",
    }
    assert several.json()["details"] == ["a", "b"]
    for response in (domain, taken, several, get(served, f"{place}/nowhere")):
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["x-request-id"]
        assert response.json()["status"] == response.status_code


def test_json_without_its_content_type_is_explained(served: Server) -> None:
    """`curl -d` sends JSON as a form, unless it is told otherwise."""
    as_form = {"Content-Type": "application/x-www-form-urlencoded"}
    refused = httpx2.post(f"{served.url}/users", content=b'{"username": "ada"}', headers=as_form)
    incomplete = httpx2.post(f"{served.url}/users", json={"username": "ada"})

    assert refused.status_code == incomplete.status_code == 422
    assert "`Content-Type: application/json`" in refused.json()["detail"]
    assert incomplete.json()["detail"] == "The request is malformed."


def test_unexpected_error_of_a_mounted_application_is_logged_once(served: Server) -> None:
    response = get(served, "/sub/raise/bug")

    assert response.status_code == 500
    assert response.json()["request_id"] == response.headers["x-request-id"]
    lines = lines_of(served, response, 2)
    assert sorted(str(line["level"]) for line in lines) == ["error", "info"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/raise/no-content", 204),
        ("GET", "/raise/not-modified", 304),
        ("GET", "/not-modified", 304),
        ("DELETE", "/nothing", 204),
    ],
)
def test_answer_without_a_body_has_none(
    served: Server, method: str, path: str, status: int
) -> None:
    with httpx2.Client(timeout=DEADLINE) as client:
        response = client.request(method, served.url + path)
        assert (response.status_code, response.content) == (status, b"")
        assert client.get(served.url + "/text").json() == "text"  # on the same connection


@pytest.mark.parametrize("chunked", [False, True])
def test_body_limits_are_the_routes(served: Server, *, chunked: bool) -> None:
    def post(path: str, body: bytes) -> httpx2.Response:
        content = iter([body[:1000], body[1000:]]) if chunked else body
        return httpx2.post(served.url + path, content=content, timeout=DEADLINE)

    for path in ("/upload", "/sub/upload"):
        accepted = post(path, LARGE)
        assert (accepted.status_code, accepted.text) == (200, str(len(LARGE)))
        assert post(path, LARGE * 3).status_code == 413
    assert (post("/usual", LARGE).status_code, post("/usual", b"x" * 100).status_code) == (413, 200)
    small = post("/small", b"x" * 11)
    assert (small.status_code, post("/small", b"x" * 10).status_code) == (413, 200)
    assert small.headers["content-type"] == "application/problem+json"


def test_routes_may_decompress_bodies(served: Server) -> None:
    def post(body: bytes) -> httpx2.Response:
        headers = {"Content-Type": "application/json"}
        return httpx2.post(f"{served.url}/compressed/sum", content=body, headers=headers)

    assert post(gzip.compress(b"[1, 2]")).json() == 3
    assert post(b"[" * 100).status_code == 400


def test_state_of_a_lifespan_is_no_login(served: Server) -> None:
    assert get(served, "/named/state").json() == "of another library"
    assert get(served, "/users/me").status_code == 401


def test_accounts_work_beside_another_connection(served: Server) -> None:
    user = {"username": "ada", "email": "ada@example.com", "password": "correct horse"}

    assert httpx2.post(f"{served.url}/users", json=user, timeout=DEADLINE).status_code == 201


def test_document_describes_callbacks_and_webhooks_and_keeps_own_names(team: Service) -> None:
    text = team.run("python", "-m", "src", "openapi").stdout
    document = json.loads(text)

    schemas = document["components"]["schemas"]
    assert set(re.findall(r"#/components/schemas/(\w+)", text)) <= schemas.keys()
    paths = document["paths"]
    callback = paths["/named/state"]["get"]["callbacks"]["callback"]["/paid"]["post"]
    for operation in (callback, document["webhooks"]["restocked"]["post"]):
        assert list(operation["responses"]["422"]["content"]) == ["application/problem+json"]
    assert paths["/named/state"]["get"]["operationId"] == "my-state"
    assert paths["/where"]["get"]["operationId"] == "where"


def test_document_keeps_models_with_the_names_of_problems(team: Service) -> None:
    script = """
import json

from pydantic import BaseModel
from src.documentation import DocumentedAPI
from src.problems import problems

app = DocumentedAPI()

@app.get("/mine/{number}", responses=problems(404))
async def mine(number: int) -> NAME: ...

print(json.dumps(app.openapi()))
"""
    for name in ("Problem", "FieldError"):
        model = f"class {name}(BaseModel):\n    mine: int\n\napp ="
        found = team.run("python", "-c", script.replace("NAME", name).replace("app =", model, 1))
        document = json.loads(found.stdout)

        schemas = document["components"]["schemas"]
        responses = document["paths"]["/mine/{number}"]["get"]["responses"]
        assert list(schemas[name]["properties"]) == ["mine"]
        reference = {"$ref": f"#/components/schemas/{name}"}
        assert responses["200"]["content"] == {"application/json": {"schema": reference}}
        for status in ("404", "422"):
            content = responses[status]["content"]["application/problem+json"]
            described = schemas[content["schema"]["$ref"].rpartition("/")[2]]
            assert {"detail", "errors"} <= described["properties"].keys()
        assert set(re.findall(r"schemas/(\w+)", found.stdout)) <= schemas.keys()


def test_problem_is_described_for_a_route_that_names_its_model(team: Service) -> None:
    script = """
import json

from src.documentation import DocumentedAPI
from src.problems import Problem

app = DocumentedAPI()

@app.get("/own", responses={404: {"model": Problem}})
async def own() -> int: ...

print(json.dumps(app.openapi()))
"""
    document = json.loads(team.run("python", "-c", script).stdout)

    content = document["paths"]["/own"]["get"]["responses"]["404"]["content"]
    reference = {"$ref": "#/components/schemas/Problem"}
    assert content["application/problem+json"]["schema"] == reference
    assert set(document["components"]["schemas"]) == {"FieldError", "Problem"}


def test_routes_of_included_routers_are_listed_and_can_be_changed(team: Service) -> None:
    """Libraries that limit or measure routes look for their paths there."""
    script = """
from fastapi import APIRouter
from fastapi.testclient import TestClient
from src.documentation import DocumentedAPI

app, router, other = DocumentedAPI(), APIRouter(prefix="/included"), APIRouter()
app.include_router(router)
client = TestClient(app)
for path in ("/one", "/two"):
    print(client.get("/included" + path).status_code)
    router.get(path, name=path)(lambda: "found")
    print(client.get("/included" + path).status_code, app.routes[-1].path)
other.get("/other")(lambda: "found")
app.routes.append(other.routes[0])
print(client.get("/other").status_code)
app.routes.pop()
print(client.get("/other").status_code, client.get("/included/two").status_code)
"""
    lines = team.run("python", "-c", script).stdout.splitlines()

    answers = [line for line in lines if line.startswith(("2", "4")) and "[" not in line]
    assert answers == ["404", "200 /included/one", "404", "200 /included/two", "200", "404 200"]


def test_home_page_leads_to_the_documents_where_they_are(team: Service) -> None:
    script = """
from fastapi.testclient import TestClient
from src.documentation import DocumentedAPI
from src.pages import home_page

for url in ("/manual", None):
    app = DocumentedAPI(docs_url=url)
    app.get("/")(home_page)
    print(TestClient(app).get("/").text)
"""
    first, second = team.run("python", "-c", script).stdout.split("<!DOCTYPE html>")[1:]

    assert 'href="/manual"' in first
    assert "API documentation" not in second
    assert 'href="/openapi.json"' in second


def test_head_answers_as_get_without_the_body(served: Server) -> None:
    with httpx2.Client(timeout=DEADLINE) as client:
        for path in (
            "/livez",
            "/readyz",
            "/text",
            "/sub/text",
            "/sub/nowhere",
            "/static/main.py",
            "/nowhere",
        ):
            got, head = (client.request(method, served.url + path) for method in ("GET", "HEAD"))
            assert head.content == b""
            assert head.status_code == got.status_code
            assert head.headers["content-type"] == got.headers["content-type"]
            assert head.headers["content-length"] == got.headers["content-length"]
        assert client.head(served.url + "/own-head").headers["x-own"] == "yes"
        assert client.head(served.url + "/endless").status_code == 200
        for path in ("/upload", "/sub/upload"):
            assert client.head(served.url + path).status_code == 405
    (line,) = lines_of(served, get(served, "/text"))
    assert (line["method"], line["route"]) == ("GET", "/text")


@pytest.mark.parametrize("path", ["/text", "/sub/text"])
def test_head_is_logged_with_its_route(served: Server, path: str) -> None:
    response = httpx2.head(served.url + path, timeout=DEADLINE)

    (line,) = lines_of(served, response)
    assert (line["method"], line["route"], line["status"]) == ("HEAD", path, 200)


def test_preflight_allows_the_headers_that_the_service_reads(served: Server) -> None:
    headers = {
        "Origin": "https://a.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization, x-request-id, traceparent, tracestate",
    }
    allowed = httpx2.options(served.url + "/text", headers=headers)
    refused = httpx2.options(
        served.url + "/text", headers={**headers, "Origin": "https://b.example"}
    )

    assert allowed.status_code == 200
    assert refused.headers["content-type"] == "application/problem+json"
    answer = get(served, "/text", headers={"Origin": "https://a.example"})
    assert "X-Request-ID" in answer.headers["access-control-expose-headers"]


def test_duration_ends_with_the_last_byte(served: Server) -> None:
    (line,) = lines_of(served, get(served, "/background"))

    duration = line["duration_ms"]
    assert isinstance(duration, float)
    assert duration < 1000  # the task takes as long


def test_error_in_the_background_has_the_requests_id(served: Server) -> None:
    response = get(served, "/failing-background")

    assert response.status_code == 200
    request, failure = lines_of(served, response, 2)
    assert (request["status"], failure["event"]) == (200, "The request failed")


def test_all_lines_are_json(served: Server) -> None:
    get(served, "/warn")
    get(served, "/raise/bug")

    lines = [json.loads(line) for line in served.output.splitlines()]
    assert any("the soup is hot" in line["event"] for line in lines)
    assert any(line["logger"].startswith("uvicorn") for line in lines)


def test_socket_is_logged_with_an_id_and_without_its_query(served: Server) -> None:
    with connect(served) as socket:
        socket.sendall(HANDSHAKE)
        answer = b""
        while b"hello" not in answer:
            part = socket.recv(1000)
            assert part, answer
            answer += part
    request_id = re.search(rb"(?i)x-request-id: (\w+)", answer)
    assert request_id

    deadline = time.monotonic() + DEADLINE
    while not (lines := [line for line in served.output.splitlines() if '"/socket' in line]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (line,) = (json.loads(line) for line in lines)
    assert (line["route"], line["status"]) == ("/socket", 101)
    assert line["request_id"] == request_id[1].decode()
    assert "token=secret" not in served.output


def test_wrong_path_is_named_in_development_only(served: Server, tmp_path: Path) -> None:
    (line,) = lines_of(served, get(served, "/nowhere/at/all"))

    assert (line["route"], "path" in line) == (None, False)


def test_links_follow_the_proxy(served: Server) -> None:
    answer = get(served, "/where", headers={"X-Forwarded-Proto": "https"}).json()

    assert re.fullmatch(r"http://127.0.0.1:\d+/where", answer["link"])  # the proxy is not trusted


def test_serves_under_a_root_path(team: Service) -> None:
    """Whether a proxy removes it from requests or not."""
    with team.serve(ROOT_PATH="/desk", DOCS="on", ENVIRONMENT="production") as server:
        for sent in ("", "/desk"):
            assert "url: '/desk/openapi.json'" in get(server, f"{sent}/docs").text
            document = get(server, f"{sent}/openapi.json").json()
            assert document["servers"] == [{"url": "/desk"}]
            url = f"{server.url}/desk/where"
            assert get(server, f"{sent}/where").json() == {"url": url, "link": url}
            assert get(server, f"{sent}/sub/raise/domain").json()["status"] == 404
            for path in ("/text", "/sub/text", "/static/main.py"):
                assert get(server, sent + path).status_code == 200
                assert httpx2.head(server.url + sent + path).status_code == 200
            (line,) = lines_of(server, get(server, f"{sent}/sub/text"))
            assert line["route"] == "/sub/text"
            with connect(server) as socket:
                socket.sendall(HANDSHAKE.replace(b"/socket", sent.encode() + b"/socket"))
                assert socket.recv(1000).startswith(b"HTTP/1.1 101 ")
        for path in ("/desktop", "/desk/desk/text"):
            assert get(server, path).status_code == 404

    lines = [json.loads(line) for line in server.output.splitlines()]
    assert {line["level"] for line in lines} == {"info"}


ASYNCIO_TESTS = """
import asyncio

import pytest
import pytest_asyncio
from httpx2 import AsyncClient


@pytest_asyncio.fixture
async def number() -> int:
    await asyncio.sleep(0)
    return 1


@pytest.mark.asyncio
async def test_of_pytest_asyncio(number: int) -> None:
    assert number == 1


async def test_of_anyio(client: AsyncClient) -> None:
    assert (await client.get("/")).status_code == 200
"""


def test_tests_run_in_parallel_and_beside_pytest_asyncio(make_service: MakeService) -> None:
    """The tests' documentation describes both."""
    service = make_service("sqlite")
    service.edit(
        "pyproject.toml",
        '    "pytest>=',
        '    "pytest-asyncio>=1.4",\n    "pytest-xdist>=3.8",\n    "pytest>=',
    )
    service.edit(
        "pyproject.toml",
        'anyio_mode = "auto"',
        'anyio_mode = "auto"\nasyncio_default_fixture_loop_scope = "function"',
    )
    service.commands = install(service.folder, "sqlite-pytest-plugins")
    (service.folder / "tests" / "test_loops.py").write_text(ASYNCIO_TESTS, encoding="utf-8")

    alone = service.run("pytest", "tests/test_loops.py").stdout
    parallel = service.run("pytest", "-n", "2", "tests/test_loops.py", "tests/test_main.py").stdout

    assert "2 passed" in alone
    assert "2 workers" in parallel
    assert " failed" not in parallel
