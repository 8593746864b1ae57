"""The service distinguishes an unavailable database from errors in the team's code."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager

import httpx2
import pytest

from .conftest import MakeService
from .support.clusters import own_mariadb, own_postgresql
from .support.databases import Database
from .support.network import Proxy, silent_server, wait_for
from .support.services import DEADLINE, Server, Service

PASSWORD = "correct horse"

COLLECT = """
    errors = {}

    def error(function):
        errors[function.__name__] = function
        return function

    @app.get("/errors")
    async def names() -> list[str]:
        return list(errors)

    @app.get("/errors/{name}")
    async def fail(name: str) -> None:
        await errors[name]()
"""

TEAM_ERRORS = """
    import asyncio
    import socket
    import sqlite3
    import struct
    import tempfile

    from tortoise.connection import get_connection
    from tortoise.transactions import in_transaction

    from .database.models import User

    @error
    async def time_out() -> None:
        raise TimeoutError

    @error
    async def time_out_beside_a_query() -> None:
        async with asyncio.timeout(0.05):
            await User.all().count()
            await asyncio.sleep(60)

    @error
    async def refuse() -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            await asyncio.open_connection(*closed.getsockname())

    @error
    async def refuse_in_a_transaction() -> None:
        async with in_transaction():
            await User.all().count()
            await refuse()

    @error
    async def refuse_while_a_connection_is_held() -> None:
        async with get_connection("default").acquire_connection():
            raise ConnectionResetError

    @error
    async def resolve() -> None:
        await asyncio.get_running_loop().getaddrinfo("host.invalid", 80)

    @error
    async def unpack() -> None:
        struct.unpack("!I", b"")

    @error
    async def read_file() -> None:
        open("/does/not/exist")

    @error
    async def misspell() -> None:
        await get_connection("default").execute_query("SELEKT 1")

    @error
    async def misname() -> None:
        await get_connection("default").execute_query("SELECT nothing FROM nowhere")

    @error
    async def pass_too_many_values() -> None:
        await get_connection("default").execute_query("SELECT 1", ["one", "two"])

    @error
    async def close_too_often() -> None:
        with sqlite3.connect(":memory:") as connection:
            connection.close()
            connection.execute("SELECT 1")

    @error
    async def lock_another_file() -> None:
        with tempfile.NamedTemporaryFile() as file:
            holder = sqlite3.connect(file.name, isolation_level=None)
            holder.execute("BEGIN EXCLUSIVE")
            sqlite3.connect(file.name, timeout=0).execute("SELECT * FROM sqlite_master")
"""

POSTGRESQL_ERRORS = """
    import asyncio

    from tortoise.connection import get_connection
    from tortoise.transactions import in_transaction

    @error
    async def use_at_once() -> None:
        async with get_connection("default").acquire_connection() as connection:
            await asyncio.gather(*(connection.fetch("SELECT pg_sleep(0.1)") for _ in range(2)))

    @error
    async def use_after_release() -> None:
        async with get_connection("default").acquire_connection() as connection:
            pass
        await connection.fetch("SELECT 1")

    @error
    async def pass_too_few_values() -> None:
        await get_connection("default").execute_query("SELECT $1::int, $2::int", [1])

    @error
    async def pass_a_wrong_type() -> None:
        await get_connection("default").execute_query("SELECT $1::int", ["one"])

    @error
    async def write_in_a_read_only_transaction() -> None:
        async with in_transaction() as connection:
            await connection.execute_query("SET TRANSACTION READ ONLY")
            await connection.execute_query('DELETE FROM "user"')
"""

MYSQL_ERRORS = """
    from tortoise.connection import get_connection
    from tortoise.transactions import in_transaction

    @error
    async def pass_too_few_values() -> None:
        await get_connection("default").execute_query("SELECT %s, %s", [1])

    @error
    async def write_in_a_read_only_transaction() -> None:
        async with get_connection("default").acquire_connection() as connection:
            async with connection.cursor() as cursor:
                await cursor.execute("START TRANSACTION READ ONLY")
                await cursor.execute("DELETE FROM `user`")

    @error
    async def read_a_file() -> None:
        await get_connection("default").execute_query(
            "SELECT 1 INTO OUTFILE '/does/not/exist'"
        )

    @error
    async def use_a_closed_cursor() -> None:
        async with get_connection("default").acquire_connection() as connection:
            async with connection.cursor() as cursor:
                pass
            await cursor.execute("SELECT 1")
"""

ROUTES = """
    from asyncio import Event
    from secrets import token_hex

    from tortoise.connection import get_connection
    from tortoise.transactions import in_transaction

    from .database.models import User

    released = Event()
    holding: list[str] = []

    async def one_more() -> None:
        name = token_hex(8)
        await User.create(username=name, email=name, hashed_password=name)

    @app.get("/read")
    async def read() -> int:
        return await User.all().count()

    @app.get("/write")
    async def write() -> None:
        await one_more()

    @app.get("/write-in-a-transaction")
    async def write_in_a_transaction() -> None:
        async with in_transaction():
            await User.all().count()
            await one_more()

    @app.get("/hold")
    async def hold(then: str = "") -> None:
        async with in_transaction() as connection:
            await one_more()
            holding.append("one")
            await released.wait()
            if then == "fail":
                raise ValueError
            if then == "read":
                await User.all().count()
            if then == "send":
                await connection.execute_query(f"SELECT '{'x' * 10_000_000}'")
            if then == "savepoint":
                async with in_transaction():
                    await User.all().count()

    @app.get("/holding")
    async def how_many_hold() -> int:
        return len(holding)

    @app.get("/release")
    async def release() -> None:
        released.set()

    return app
"""


def with_routes(service: Service, routes: str, url: str = "") -> None:
    service.edit("src/main.py", "\n    return app\n", routes)
    service.upgrade(url)


def is_503(answer: httpx2.Response) -> bool:
    return (
        answer.status_code == 503
        and answer.headers["content-type"] == "application/problem+json"
        and int(answer.headers["retry-after"]) > 0
    )


def assert_team_errors(service: Service, errors: str) -> None:
    with_routes(service, f"{COLLECT}{errors}\n    return app\n")
    with service.serve() as server:
        names = server.get("/errors").json()
        statuses = {name: server.get(f"/errors/{name}").status_code for name in names}
        assert server.get("/readyz").status_code == 200
    assert statuses == dict.fromkeys(names, 500)
    assert "The database cannot serve" not in server.output
    for name in names:
        assert f"in {name}" in server.output  # a line of a traceback


@pytest.mark.server
def test_error_in_the_teams_code_is_500_with_a_traceback(service: Service) -> None:
    assert_team_errors(service, TEAM_ERRORS)


@pytest.mark.server
@pytest.mark.parametrize(
    ("engine", "errors"),
    [("postgresql", POSTGRESQL_ERRORS), ("mysql", MYSQL_ERRORS)],
    indirect=["engine"],
)
def test_misuse_of_the_database_is_500_with_a_traceback(service: Service, errors: str) -> None:
    assert_team_errors(service, errors)


def test_log_says_why_the_database_is_unavailable(service: Service) -> None:
    with_routes(service, ROUTES)
    limits = {"DATABASE_POOL_MAX": "1", "DATABASE_CONNECT_TIMEOUT": "0.2"}
    if service.database.engine == "sqlite":
        limits = {"DATABASE_BUSY_TIMEOUT": "0.2"}
    with service.serve(**limits) as server, ThreadPoolExecutor(1) as thread:
        held = thread.submit(server.get, "/hold")
        wait_for(lambda: server.get("/holding").json() == 1)
        assert is_503(server.get("/read"))
        server.get("/release")
        assert held.result().status_code == 200
    assert "The database cannot serve: No connection was free within 0.2 s" in server.output


READ_TWICE = """
    from tortoise.transactions import in_transaction

    from .database.models import User

    @app.get("/read-in-a-transaction")
    async def read_in_a_transaction() -> int:
        async with in_transaction():
            return len(await User.all())

    return app
"""


@pytest.mark.server
@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_migration_during_a_transaction_is_503_once(service: Service) -> None:
    """The driver prepares a statement again if a table changes, but not within a transaction."""
    with_routes(service, READ_TWICE)
    with service.serve(DATABASE_POOL_MAX="1") as server:
        assert server.get("/read-in-a-transaction").status_code == 200
        service.database.query("ALTER TABLE users ALTER COLUMN username TYPE text")
        assert is_503(server.get("/read-in-a-transaction"))
        assert server.get("/read-in-a-transaction").status_code == 200


def assert_writes_are_503(server: Server) -> None:
    """Check the responses of a service whose database has become read-only."""
    assert is_503(server.get("/write"))
    assert is_503(server.get("/write-in-a-transaction"))
    login = {"username": "ada", "password": PASSWORD}
    assert is_503(httpx2.post(f"{server.url}/auth/token", data=login, timeout=DEADLINE))
    assert server.get("/read").json() == 1
    ready = server.get("/readyz")
    assert (ready.status_code, ready.json()["detail"]) == (503, "The database is read-only.")
    assert server.get("/livez").status_code == 200


def sign_up(server: Server) -> None:
    body = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
    assert httpx2.post(f"{server.url}/users", json=body, timeout=DEADLINE).is_success


def test_writes_to_a_postgresql_standby_are_503(make_service: MakeService) -> None:
    service = make_service("postgresql")
    with own_postgresql() as database:
        service.environment["DATABASE_URL"] = database.url
        with_routes(service, ROUTES, database.url)
        with service.serve() as server:
            sign_up(server)
            assert server.get("/readyz").status_code == 200
            database.stand_by()
            wait_for(lambda: server.get("/read").status_code == 200)
            assert_writes_are_503(server)
            database.promote()
            assert server.get("/write").status_code == 200
            assert server.get("/write-in-a-transaction").status_code == 200
            wait_for(lambda: server.get("/readyz").status_code == 200)
    assert "The request failed" not in server.output


@pytest.mark.server
@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_writes_to_a_read_only_postgresql_database_are_503(service: Service) -> None:
    with_routes(service, ROUTES)
    name, url = service.database.name, service.database.url
    administer = Database("postgresql", f"{url.rpartition('/')[0]}/postgres").query
    with service.serve() as server:
        sign_up(server)
        administer(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        end_sessions(service.database, administer)
        wait_for(lambda: server.get("/read").status_code == 200)
        assert_writes_are_503(server)
        administer(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        end_sessions(service.database, administer)
        wait_for(lambda: server.get("/readyz").status_code == 200)
        wait_for(lambda: server.get("/write").status_code == 200)
    assert "The request failed" not in server.output


def end_sessions(database: Database, administer: Callable[[str], object]) -> None:
    administer(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.name}'"
    )


def test_writes_to_a_mysql_replica_are_503(make_service: MakeService) -> None:
    service = make_service("mysql")
    with own_mariadb() as mariadb:
        administer = Database("mysql", mariadb.url).query
        administer("CREATE DATABASE service")
        administer("CREATE USER team IDENTIFIED BY 'secret'")
        administer("GRANT ALL ON service.* TO team")
        own = mariadb.url.replace("root@", "team:secret@").replace("/mysql", "/service")
        service.environment["DATABASE_URL"] = own
        with_routes(service, ROUTES, own)
        with service.serve() as server:
            sign_up(server)
            assert server.get("/readyz").status_code == 200
            administer("SET GLOBAL read_only = 1")
            assert_writes_are_503(server)
            administer("SET GLOBAL read_only = 0")
            assert server.get("/write").status_code == 200
            assert server.get("/write-in-a-transaction").status_code == 200
            assert server.get("/readyz").status_code == 200
    assert "The request failed" not in server.output


def without_privileges(service: Service) -> list[str]:
    """Return the command that serves with file permissions in effect, even for root."""
    python = str(service.commands / "python")
    if os.geteuid():
        return [python, "-m", "src"]
    return ["/usr/bin/setpriv", "--bounding-set=-dac_override", "--", python, "-m", "src"]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_writes_to_a_read_only_file_are_503(service: Service) -> None:
    with_routes(service, ROUTES)
    command = without_privileges(service)
    with service.serve(*command) as server:
        sign_up(server)
        assert server.get("/readyz").status_code == 200
    service.database.path.chmod(0o444)
    with service.serve(*command) as server:
        assert_writes_are_503(server)
    for file in service.database.path.parent.glob("*.sqlite3*"):
        file.chmod(0o644)
    with service.serve(*command) as server:
        assert server.get("/readyz").status_code == 200
        assert server.get("/write").status_code == 200


TIMEOUT = 10  # seconds
# A response after two time-outs is later than this, one after one time-out is earlier
TWO_TIMEOUTS = 2 * TIMEOUT - 1


@contextmanager
def servers(engine: str, *, encrypted: bool) -> Iterator[str]:
    """Start a server for one test.

    Yields:
        The URL of a new database.
    """
    if engine == "postgresql":
        with own_postgresql() as server:
            if encrypted:
                server.encrypt()
            yield f"{server.url}?sslmode={'require' if encrypted else 'disable'}"
    else:
        with own_mariadb() as mariadb:
            Database("mysql", mariadb.url).query("CREATE DATABASE service")
            mode = "required" if encrypted else "disabled"
            yield mariadb.url.replace("/mysql", f"/service?ssl-mode={mode}")


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_half_open_connections_end_within_the_time_out(
    make_service: MakeService, engine: str, encrypted: bool
) -> None:
    """This holds for queries, commits, rollbacks and new connections."""
    service = make_service(engine)
    steps = ["commit", "fail", "read", "send", "savepoint"]
    limits = {"DATABASE_CONNECT_TIMEOUT": str(TIMEOUT), "DATABASE_COMMAND_TIMEOUT": str(TIMEOUT)}
    with servers(engine, encrypted=encrypted) as url, Proxy(url) as proxy:
        with_routes(service, ROUTES, url)
        with (
            service.serve(DATABASE_URL=proxy.url, **limits) as server,
            ThreadPoolExecutor(20) as threads,
        ):
            held = [threads.submit(server.get, f"/hold?then={step}") for step in steps]
            wait_for(lambda: server.get("/holding").json() == len(steps))
            proxy.freeze()
            server.get("/release")
            held += [threads.submit(server.get, "/read") for _ in range(10)]
            wait(held, TWO_TIMEOUTS)
            late = [number for number, answer in enumerate(held) if not answer.done()]
            assert not late, f"{late} of {steps} and the reads\n{server.output}"
            answers = [answer.result() for answer in held]
            failed = answers.pop(steps.index("fail"))
            assert failed.status_code in {500, 503}
            assert all(map(is_503, answers)), server.output
            assert server.get("/livez").status_code == 200
            stopped = threads.submit(server.stop)
            proxy.thaw()
            assert stopped.result() == 0


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_requests_do_not_wait_for_each_others_attempts_to_connect(
    make_service: MakeService, engine: str
) -> None:
    service = make_service(engine)
    with_routes(service, ROUTES)
    with silent_server() as port:
        place, _, name = service.database.url.rpartition("/")
        url = f"{place.rpartition(':')[0]}:{port}/{name}"
        timeout = 2  # seconds; one after the other, 20 attempts take 40
        limits = {"DATABASE_CONNECT_TIMEOUT": str(timeout), "START_UNREADY": "true"}
        with (
            service.serve(DATABASE_URL=url, **limits) as server,
            ThreadPoolExecutor(20) as threads,
        ):
            asked = [threads.submit(server.get, "/read") for _ in range(20)]
            assert not wait(asked, 10 * timeout).not_done
            assert all(is_503(answer.result()) for answer in asked)
