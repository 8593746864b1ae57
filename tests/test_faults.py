"""The service answers during failures and recovers by itself afterwards."""

import os
import resource
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from .conftest import MakeService
from .support.databases import account, new_user
from .support.network import Proxy, wait_for
from .support.services import DEADLINE, Server, Service
from .support.sockets import connect, resident, rest

IDLE = 2000
HALF_HEAD = b"GET / HTTP/1.1\r\nHost: x\r\nX: "
HALF_BODY = (
    b"POST /users HTTP/1.1\r\nHost: x\r\n"
    b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
)
ROUTES = """
    from asyncio import Event
    from secrets import token_hex

    from tortoise.transactions import in_transaction

    from .database.models import User

    released = Event()
    holding: list[str] = []

    @app.get("/hold")
    async def hold() -> None:
        async with in_transaction():
            await User.all().count()
            holding.append("one")
            await released.wait()

    @app.get("/holding")
    async def how_many_hold() -> int:
        return len(holding)

    @app.get("/release")
    async def release() -> None:
        released.set()

    @app.get("/read")
    async def read() -> int:
        return await User.all().count()

    @app.get("/write")
    async def write() -> None:
        name = token_hex(8)
        await User.create(username=name, email=name, hashed_password=name)

    @app.get("/write-in-a-transaction")
    async def write_in_a_transaction() -> None:
        async with in_transaction():
            await write()

    return app
"""


LENGTH = """
    from asyncio import sleep

    @app.post("/length")
    async def length(request: Request, wait: float = 0) -> int:
        await sleep(wait)
        return len(await request.body())

    return app
"""


@pytest.fixture
def faulty(engine: str, make_service: MakeService) -> Service:
    """A service with routes that read, write and hold a connection."""
    service = make_service(engine)
    service.edit("src/main.py", "\n    return app\n", ROUTES)
    service.upgrade()
    return service


def at_once(server: Server, path: str, count: int) -> list[httpx2.Response]:
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(server.get, [path] * count))


def is_busy(answer: httpx2.Response) -> bool:
    return (
        answer.status_code == 503
        and "reachable" not in answer.text
        and answer.headers["content-type"] == "application/problem+json"
        and int(answer.headers["retry-after"]) > 0
    )


def one_connection(service: Service) -> dict[str, str]:
    """Return the settings for one connection and a time-out of one second."""
    if service.database.engine == "sqlite":
        return {"DATABASE_BUSY_TIMEOUT": "1"}
    return {"DATABASE_POOL_MAX": "1", "DATABASE_CONNECT_TIMEOUT": "1"}


def test_waiting_for_a_connection_has_a_time_out(faulty: Service) -> None:
    with faulty.serve(**one_connection(faulty)) as server, ThreadPoolExecutor(1) as thread:
        held = thread.submit(server.get, "/hold")
        wait_for(lambda: server.get("/read").status_code == 503)
        assert all(map(is_busy, at_once(server, "/read", 20)))
        assert server.get("/livez").status_code == 200
        assert not held.done()
        server.get("/release")
        assert held.result().status_code == 200
        assert {answer.status_code for answer in at_once(server, "/read", 20)} == {200}


def test_service_stops_during_a_request_without_end(faulty: Service) -> None:
    faulty.edit("src/server.py", "STOP_TIMEOUT = 30 ", "STOP_TIMEOUT = 1 ")
    with faulty.serve(**one_connection(faulty)) as server, ThreadPoolExecutor(1) as thread:
        held = thread.submit(server.get, "/hold")
        wait_for(lambda: server.get("/read").status_code == 503)
        assert server.stop() == 0
        assert is_busy(held.result())
    assert "Traceback" not in server.output


DEADLOCK = """
    from asyncio import Barrier, gather

    from tortoise.transactions import in_transaction

    from .database.models import User

    @app.get("/deadlock")
    async def deadlock() -> None:
        for name in ("ada", "bob"):
            await User.create(username=name, email=name, hashed_password=name)
        both = Barrier(2)

        async def touch(first: str, second: str) -> None:
            async with in_transaction():
                await User.filter(username=first).update(is_active=False)
                await both.wait()
                await User.filter(username=second).update(is_active=False)

        await gather(touch("ada", "bob"), touch("bob", "ada"))

    return app
"""


@pytest.mark.server
@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_deadlock_is_503(service: Service) -> None:
    service.edit("src/main.py", "\n    return app\n", DEADLOCK)
    service.upgrade()
    with service.serve() as server:
        assert is_busy(server.get("/deadlock"))


NUMBERS = """
    from tortoise.connection import get_connection

    @app.get("/signal/{number}")
    async def signal(number: int) -> None:
        text = "running with the --read-only option" if number == 1290 else ""
        statement = f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = '{text}'"
        await get_connection("default").execute_query(statement)

    return app
"""


@pytest.mark.server
def test_temporary_error_of_mysql_is_503(make_service: MakeService) -> None:
    """See the "Server Error Message Reference" of MySQL, and MariaDB's list."""
    service = make_service("mysql")
    service.edit("src/main.py", "\n    return app\n", NUMBERS)
    service.upgrade()
    passing = [1020, 1040, 1041, 1047, 1129, 1135, 1203, 1205, 1213, 1226, 1290, 1317, 1412]
    passing += [1836, 1874, 1927, 1969, 3024, 3032, 3101, 3118, 3168, 3169, 4031, 4151]
    with service.serve() as server:
        statuses = {number: server.get(f"/signal/{number}").status_code for number in passing}
        other = server.get("/signal/1064").status_code

    assert statuses == dict.fromkeys(passing, 503)
    assert other == 500


@pytest.mark.server
def test_limit_of_a_mysql_users_connections_is_503(make_service: MakeService) -> None:
    service = make_service("mysql")
    service.edit("src/main.py", "\n    return app\n", ROUTES)
    service.upgrade()
    with new_user(service.database, "secret") as url, ThreadPoolExecutor(1) as thread:
        service.database.query(f"ALTER USER {account(url)} WITH MAX_USER_CONNECTIONS 1")
        with service.serve(DATABASE_URL=url) as server:
            assert server.get("/read").status_code == 200
            held = thread.submit(server.get, "/hold")
            wait_for(lambda: server.get("/holding").json() == 1)
            assert is_busy(server.get("/read"))
            server.get("/release")
            assert held.result().status_code == 200
            assert server.get("/read").status_code == 200


@pytest.mark.server
@pytest.mark.parametrize("change", ["ACCOUNT LOCK", "IDENTIFIED BY 'other'"])
def test_mysql_login_that_changed_is_503(make_service: MakeService, change: str) -> None:
    service = make_service("mysql")
    service.edit("src/main.py", "\n    return app\n", ROUTES)
    service.upgrade()
    with (
        new_user(service.database, "secret") as url,
        service.serve(DATABASE_URL=url) as server,
        ThreadPoolExecutor(3) as threads,
    ):
        assert server.get("/read").status_code == 200
        service.database.query(f"ALTER USER {account(url)} {change}")
        # the pool has one or two connections from before the change
        held = [threads.submit(server.get, "/hold") for _ in range(3)]
        wait_for(
            lambda: (
                server.get("/holding").json() + sum(answer.done() for answer in held) == len(held)
            )
        )
        assert is_busy(server.get("/read"))
        server.get("/release")
        assert 200 in {answer.result().status_code for answer in held}


QUEUE = """
import asyncio
from tortoise import Tortoise
from tortoise.connection import get_connection
from src.database.config import TORTOISE_ORM

async def main():
    await Tortoise.init(TORTOISE_ORM)
    client = get_connection("default")
    await client.execute_query("SELECT 1")

    async def ask(worker):
        for _ in range(20):
            print("asks", worker)
            async with client.acquire_connection():
                print("has", worker)
                await asyncio.sleep(0)
            for _ in range(worker):
                await asyncio.sleep(0)

    await asyncio.gather(*map(ask, range(5)))
    await Tortoise.close_connections()

asyncio.run(main())
"""


def test_connections_are_first_come_first_served(service: Service) -> None:
    """Otherwise, some requests of a busy service would wait until the time-out."""
    service.upgrade()
    if service.database.engine != "sqlite":
        service.environment["DATABASE_POOL_MAX"] = "1"
    lines = service.run("python", "-c", QUEUE).stdout.splitlines()
    asked = [line.partition(" ")[2] for line in lines if line.startswith("asks")]
    had = [line.partition(" ")[2] for line in lines if line.startswith("has")]
    assert len(asked) == 100
    assert had == asked


@pytest.mark.server
@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_service_recovers_from_dropped_connections(faulty: Service) -> None:
    name = faulty.database.url.rpartition("/")[2]
    connections = {
        "postgresql": "SELECT 'SELECT pg_terminate_backend(' || pid || ')' FROM pg_stat_activity"
        f" WHERE datname = '{name}' AND pid <> pg_backend_pid()",
        "mysql": "SELECT concat('KILL ', id) FROM information_schema.processlist"
        f" WHERE db = '{name}' AND id <> connection_id()",
    }[faulty.database.engine]
    with faulty.serve() as server, ThreadPoolExecutor(1) as thread:
        assert {answer.status_code for answer in at_once(server, "/write", 10)} == {200}
        load = thread.submit(lambda: [at_once(server, "/write", 10) for _ in range(10)])
        for (kill,) in faulty.database.query(connections):
            faulty.database.query(kill)
        answers = [answer for round_ in load.result() for answer in round_]
        assert all(answer.status_code == 200 or is_busy(answer) for answer in answers)
        wait_for(lambda: {a.status_code for a in at_once(server, "/write", 10)} == {200})


@contextmanager
def full_disk(server: Server) -> Iterator[None]:
    """Prevent a server's files from growing."""
    pid, kind = server.process.pid, resource.RLIMIT_FSIZE
    before = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, kind, before)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_full_disk_is_503_until_there_is_space(faulty: Service) -> None:
    with faulty.serve() as server:
        assert server.get("/write").status_code == 200
        with full_disk(server):
            assert is_busy(server.get("/write"))
            assert is_busy(server.get("/write-in-a-transaction"))
            assert server.get("/read").json() == 1
        assert server.get("/write-in-a-transaction").status_code == 200
        assert server.get("/write").status_code == 200
        assert server.get("/read").json() == 3


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a disk of 4 MB. Only root can do this."""
    if os.geteuid():
        (pytest.fail if os.environ.get("REQUIRE_ENGINES") else pytest.skip)("only root can mount")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_disk_without_a_free_block_is_503_until_there_is_space(
    faulty: Service, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk):
        url = f"sqlite://{disk}/db.sqlite3"
        faulty.upgrade(url)
        with faulty.serve(DATABASE_URL=url) as server:
            assert server.get("/write").status_code == 200
            with suppress(OSError), (disk / "other").open("wb", buffering=0) as other:
                while True:
                    other.write(b"x" * 4096)
            wait_for(lambda: is_busy(server.get("/write")))  # what it has allocated goes first
            assert server.get("/read").json() >= 1
            assert server.get("/livez").status_code == 200
            (disk / "other").unlink()
            assert server.get("/write").status_code == 200
            assert server.get("/readyz").status_code == 200


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_slow_database_is_503_within_the_time_out(faulty: Service) -> None:
    """Waiting one after the other would take 100 s, longer than the test waits."""
    limits = {
        "DATABASE_POOL_MAX": "1",
        "DATABASE_CONNECT_TIMEOUT": "1",
        "DATABASE_COMMAND_TIMEOUT": "1",
    }
    with (
        Proxy(faulty.database.url) as proxy,
        faulty.serve(DATABASE_URL=proxy.url, **limits) as server,
    ):
        assert server.get("/read").status_code == 200
        proxy.freeze()
        assert all(map(is_busy, at_once(server, "/read", 100)))
        assert server.get("/livez").status_code == 200
        proxy.thaw()
        wait_for(lambda: {a.status_code for a in at_once(server, "/read", 20)} == {200})


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_service_recovers_from_refused_connections_under_load(faulty: Service) -> None:
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(faulty.database.url))
        server = stack.enter_context(faulty.serve(DATABASE_URL=proxy.url))
        thread = stack.enter_context(ThreadPoolExecutor(1))
        assert {answer.status_code for answer in at_once(server, "/write", 10)} == {200}
        load = thread.submit(lambda: [at_once(server, "/write", 10) for _ in range(20)])
        proxy.close()
        wait_for(lambda: is_busy(server.get("/read")))
        proxy.open()
        answers = [answer for round_ in load.result() for answer in round_]
        assert all(answer.status_code == 200 or is_busy(answer) for answer in answers)
        wait_for(lambda: {a.status_code for a in at_once(server, "/write", 10)} == {200})
        written = server.get("/read").json()
    assert written >= 20 + sum(answer.status_code == 200 for answer in answers)


@pytest.fixture
def served(make_service: MakeService) -> Iterator[Server]:
    """A service on SQLite, with little patience, that answers a body with its length."""
    service = make_service("sqlite")
    service.edit("src/client_connections.py", "CLIENT_TIMEOUT = 30.0", "CLIENT_TIMEOUT = 1.0")
    service.edit("src/main.py", "\n    return app\n", LENGTH)
    service.upgrade()
    with service.serve() as server:
        yield server
    assert server.process.returncode == 0
    assert "Traceback" not in server.output


def test_oversized_requests_are_refused(served: Server) -> None:
    get, post = b"GET /livez HTTP/1.1\r\nHost: x\r\n", b"POST /length HTTP/1.1\r\nHost: x\r\n"
    for start, status in (
        (b"GET /livez?%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 66_000), b"400"),
        (get + b"X: %s\r\n\r\n" % (b"x" * 66_000), b"400"),
        (get + b"X: 1\r\n" * 11_000 + b"\r\n", b"400"),
        (get + b"Connection: close\r\nX: %s\r\n\r\n" % (b"x" * 65_000), b"200"),
        (post + b"Content-Length: 9999999\r\n\r\n", b"413"),
    ):
        with connect(served) as client:
            client.sendall(start)
            assert rest(client).startswith(b"HTTP/1.1 " + status), start[:100]


def test_oversized_requests_are_refused_by_workers_too(make_service: MakeService) -> None:
    service = make_service("sqlite")
    service.upgrade()
    with service.serve(WEB_CONCURRENCY="2") as server, connect(server) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nX: %s\r\n\r\n" % (b"x" * 66_000))
        assert rest(client).startswith(b"HTTP/1.1 400")
    assert server.process.returncode == 0


def test_requests_without_end_are_cut_off(served: Server) -> None:
    assert {answer.status_code for answer in at_once(served, "/livez", 100)} == {200}
    before = resident(served)
    for start in (
        b"GET /",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: ",
        b"POST /length HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4c4b400\r\n",
    ):
        with connect(served) as client:
            client.sendall(start)
            with pytest.raises(ConnectionError):
                for _ in range(5000):
                    client.sendall(b"x" * 16384)
        assert served.get("/livez").status_code == 200
    wait_for(lambda: resident(served) <= 1.2 * before)


def test_rest_of_a_request_is_not_awaited_for_ever(served: Server) -> None:
    """Neither after silence, an empty line, half a head, half a second head, nor half a body."""
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(served)) for _ in range(5)]
        for client, start in zip(
            clients,
            (
                b"",
                b"\r\n",
                b"GET / HTTP/1.1\r\nHost: x\r\n",
                b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP",
                b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1234",
            ),
            strict=True,
        ):
            client.sendall(start)
        for client in clients:
            assert b" 500 " not in rest(client)


def test_half_open_clients_do_not_keep_it_from_stopping(served: Server) -> None:
    with connect(served) as silent, connect(served) as halfway:
        halfway.sendall(b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1234")
        silent.sendall(HALF_HEAD)
        assert served.get("/livez").status_code == 200
        served.process.terminate()
        assert served.process.wait(DEADLINE) == 0


def test_head_that_comes_too_slowly_is_not_awaited(served: Server) -> None:
    with connect(served) as client, pytest.raises(ConnectionError):
        for byte in b"GET / HTTP/1.1\r\nX: " + b"x" * 5000:
            client.sendall(bytes([byte]))
            time.sleep(0.02)  # as a slow client does; all of it would take 100 s


def test_slow_body_and_slow_route_are_awaited(served: Server) -> None:
    """Each piece of a body has the patience for itself, and a slow route is not the client's fault."""
    big = 500_000
    head = b"POST /length?wait=%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    with connect(served) as slow, connect(served) as waiting:
        waiting.sendall(head % (3, big))
        waiting.sendall(b"x" * big)
        slow.sendall(head % (0, 6))
        for _ in range(6):
            time.sleep(0.4)
            slow.sendall(b"x")
        assert rest(slow).endswith(b"\r\n\r\n6")
        assert rest(waiting).endswith(b"\r\n\r\n%d" % big)


@pytest.mark.parametrize("accounts", [True, False])
def test_body_over_the_limit_is_413(accounts: bool, make_service: MakeService) -> None:
    service = make_service("sqlite", answers={"accounts": accounts})
    service.edit("src/main.py", "\n    return app\n", LENGTH)
    service.upgrade()
    limit = 2**20
    head = b"POST /length HTTP/1.1\r\nHost: x\r\n"
    declared = head + b"Content-Length: %d\r\n\r\n" % (limit + 1)
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (2 * limit)
    with service.serve() as server:
        for start in (declared, chunked + b"x" * (limit + 1)):
            with connect(server) as client:
                client.sendall(start)
                answer = rest(client)
            assert answer.startswith(b"HTTP/1.1 413")
            assert b"content-type: application/problem+json\r\n" in answer
            assert b"connection: close\r\n" in answer
        url = f"{server.url}/length"
        assert httpx2.post(url, content=b"x" * limit, timeout=DEADLINE).json() == limit


def crowd(server: Server, idle: int, heads: int, bodies: int) -> int:
    """Let clients connect that send nothing, half a head or half a body, and leave.

    Returns:
        The memory that the server has afterwards, in kilobytes.
    """
    line = "] POST "
    left = server.output.count(line) + bodies
    with ExitStack() as stack:
        for begun in (*[b""] * idle, *[HALF_HEAD] * heads, *[HALF_BODY] * bodies):
            stack.enter_context(connect(server)).sendall(begun)
        assert server.get("/livez").status_code == 200
        assert server.get("/readyz").status_code == 200
    wait_for(lambda: server.output.count(line) == left)
    return resident(server)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_idle_and_half_open_clients_keep_nobody_waiting(service: Service) -> None:
    """Python keeps what a crowd has needed, for the next: what others add counts."""
    service.upgrade()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with service.serve() as server:
        assert {answer.status_code for answer in at_once(server, "/livez", 100)} == {200}
        before = crowd(server, 10, 10, 100)
        assert crowd(server, IDLE - 500, 400, 100) <= 1.2 * before
        before = crowd(server, 0, 0, 500)
        assert max(crowd(server, 0, 0, 500) for _ in range(3)) <= 1.2 * before
        assert server.get("/readyz").status_code == 200
    assert server.process.returncode == 0
    assert "Traceback" not in server.output
