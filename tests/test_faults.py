"""The service meets faults with an answer, and serves again by itself when they are over."""

import re
import resource
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest

from .conftest import MakeService
from .support.network import wait_for
from .support.services import Server, Service

IDLE = 2000
ROUTES = """
    from asyncio import Event
    from secrets import token_hex

    from tortoise.transactions import in_transaction

    from .database.models import User

    released = Event()

    @app.get("/hold")
    async def hold() -> None:
        async with in_transaction():
            await User.all().count()
            await released.wait()

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

    return app
"""


@pytest.fixture
def faulty(engine: str, make_service: MakeService) -> Service:
    """A service with routes that read, write, and keep a connection to themselves."""
    service = make_service(engine)
    service.edit("src/main.py", "\n    return app\n", ROUTES)
    service.upgrade()
    return service


def at_once(server: Server, path: str, count: int) -> list[httpx2.Response]:
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(server.get, [path] * count))


def resident(server: Server) -> int:
    """Read the memory that a server has now, in kilobytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="utf-8")
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])


def is_busy(answer: httpx2.Response) -> bool:
    return (
        answer.status_code == 503
        and answer.headers["content-type"] == "application/problem+json"
        and int(answer.headers["retry-after"]) > 0
    )


def test_nobody_waits_without_end_for_a_connection(faulty: Service) -> None:
    limits = {"DATABASE_POOL_MAX": "1", "DATABASE_CONNECT_TIMEOUT": "1"}
    if faulty.database.engine == "sqlite":
        limits = {"DATABASE_BUSY_TIMEOUT": "1"}
    with faulty.serve(**limits) as server, ThreadPoolExecutor(1) as thread:
        held = thread.submit(server.get, "/hold")
        wait_for(lambda: server.get("/read").status_code == 503)
        assert all(map(is_busy, at_once(server, "/read", 20)))
        assert server.get("/livez").status_code == 200
        assert not held.done()
        server.get("/release")
        assert held.result().status_code == 200
        assert {answer.status_code for answer in at_once(server, "/read", 20)} == {200}


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_database_that_drops_its_connections_is_used_again(faulty: Service) -> None:
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
    """Let a server's files grow no more."""
    pid, kind = server.process.pid, resource.RLIMIT_FSIZE
    before = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, kind, before)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_full_disk_is_503_until_there_is_room(faulty: Service) -> None:
    with faulty.serve() as server:
        assert server.get("/write").status_code == 200
        with full_disk(server):
            assert is_busy(server.get("/write"))
            assert server.get("/read").status_code == 200
        assert server.get("/write").status_code == 200
        assert server.get("/read").json() == 2


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_idle_and_half_open_clients_keep_nobody_waiting(service: Service) -> None:
    service.upgrade()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with service.serve() as server:
        host, port = server.url.removeprefix("http://").split(":")
        assert {answer.status_code for answer in at_once(server, "/livez", 100)} == {200}
        before = resident(server)
        with ExitStack() as stack:
            for number in range(IDLE):
                client = stack.enter_context(socket.create_connection((host, int(port))))
                if number % 20 == 0:
                    client.sendall(b"POST /users HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
            assert server.get("/livez").status_code == 200
            assert server.get("/readyz").status_code == 200
        wait_for(lambda: resident(server) <= 1.2 * before)
        assert server.get("/readyz").status_code == 200
    assert server.process.returncode == 0
    assert "Traceback" not in server.output
