"""Several replicas lose no write while they and their database restart."""

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import copytree, ignore_patterns
from urllib.parse import urlencode, urlsplit

import httpx2

from .conftest import MakeService
from .support.accounts import PASSWORD
from .support.clusters import balancer, own_postgresql, pgbouncer, pgbouncer_prepares
from .support.databases import Database
from .support.network import wait_for
from .support.services import DEADLINE, Server, Service, free_port, wait_until_answering

REPLICAS = 4
CLIENTS = 8
PAUSE = 0.02  # seconds between a client's requests, so that the rest of the machine lives too
READY_AGAIN = 10.0  # seconds, within which all replicas are ready after the database's restart


@dataclass
class Load:
    """Clients that request their user again and again, and the responses.

    Attributes:
        answers: how often each status came; errors of the connection stand under their name.
        users: the names that came with the answers 200.
    """

    url: str
    token: str
    answers: Counter[int | str] = field(default_factory=Counter)
    users: set[str] = field(default_factory=set)
    _over: threading.Event = field(default_factory=threading.Event)

    async def _ask(self, client: httpx2.AsyncClient) -> None:
        while not self._over.is_set():
            try:
                answer = await client.get("/users/me")
            except httpx2.TransportError as error:
                self.answers[type(error).__name__] += 1
                continue
            self.answers[answer.status_code] += 1
            await asyncio.sleep(PAUSE)
            if answer.status_code == 200:
                self.users.add(answer.json()["username"])

    async def _run(self) -> None:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with httpx2.AsyncClient(
            base_url=self.url, headers=headers, timeout=DEADLINE
        ) as client:
            await asyncio.gather(*(self._ask(client) for _ in range(CLIENTS)))

    def goes_on(self) -> None:
        """Wait until every client has received more responses."""
        seen = self.answers[200]
        wait_for(lambda: self.answers[200] > seen + 4 * CLIENTS)

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join(DEADLINE)


def start(service: Service, port: int) -> Server:
    process = service.popen("python", "-m", "src", PORT=str(port))
    server = Server(f"http://127.0.0.1:{port}", process)
    wait_until_answering(server)
    return server


def log_in(url: str) -> str:
    form = {"username": "ada", "password": PASSWORD}
    answer = httpx2.post(f"{url}/auth/token", data=form, timeout=DEADLINE)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def next_release(service: Service, folder: Path) -> Service:
    """Create the next release of a service, with one more column."""
    copytree(service.folder, folder, ignore=ignore_patterns(".venv"))
    release = replace(service, folder=folder)
    column = "    nickname = fields.CharField(max_length=50, null=True)\n\n    class Meta:\n"
    release.edit(
        "src/database/models.py",
        '    class Meta:\n        table = "users"',
        column + '        table = "users"',
    )
    release.run("python", "-m", "src.database.migrate", "new", "add_nickname")
    return release


def test_no_write_is_lost_while_replicas_and_database_restart(
    make_service: MakeService, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        database = stack.enter_context(own_postgresql())
        old = replace(make_service("postgresql"), database=Database("postgresql", database.url))
        new = next_release(old, tmp_path / "next")
        old.upgrade()
        ports = [free_port() for _ in range(REPLICAS)]
        replicas = [start(old, port) for port in ports]
        for replica in replicas:
            stack.callback(replica.stop)
        front = stack.enter_context(balancer(ports))
        body = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
        assert httpx2.post(f"{front.url}/users", json=body).status_code == 201
        load = Load(front.url, log_in(front.url))

        with load.running():
            load.goes_on()

            # a new release: its migration first, then one replica after the other
            new.upgrade()
            load.goes_on()
            for place, port in enumerate(ports):
                front.drain(place)
                assert replicas[place].stop() == 0, replicas[place].output
                replicas[place] = start(new, port)
                stack.callback(replicas[place].stop)
                front.admit(place)
                wait_for(lambda: front.ready() == REPLICAS)
            load.goes_on()
            assert set(load.answers) == {200}, load.answers

            database.restart()
            back = time.monotonic()
            wait_for(lambda: front.ready() == REPLICAS)
            assert time.monotonic() - back < READY_AGAIN
            load.goes_on()

        for replica in replicas:
            assert replica.stop() == 0
        failures = "".join(replica.output for replica in replicas if " 500 " in replica.output)
        assert set(load.answers) <= {200, 503}, f"{load.answers}\n{failures}"
        assert load.users == {"ada"}


def test_service_works_behind_a_pooler_in_transaction_mode(make_service: MakeService) -> None:
    service = make_service("postgresql")
    service.upgrade()
    body = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
    with pgbouncer(service.database.url) as url, ExitStack() as stack:
        urls = [f"{url}?statement_cache_size=0", *([url] if pgbouncer_prepares() else [])]
        servers = [stack.enter_context(service.serve(DATABASE_URL=one)) for one in urls]
        assert httpx2.post(f"{servers[0].url}/users", json=body).status_code == 201
        for server in servers:
            load = Load(server.url, log_in(server.url))
            with load.running():
                for _ in range(5):
                    load.goes_on()
            assert set(load.answers) == {200}, server.output
            assert load.users == {"ada"}


def test_a_request_in_flight_is_answered_before_the_service_stops(service: Service) -> None:
    service.upgrade()
    body = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
    with service.serve() as server:
        assert httpx2.post(f"{server.url}/users", json=body).status_code == 201
        form = urlencode({"username": "ada", "password": PASSWORD})
        address = urlsplit(server.url)
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.sendall(
                b"POST /auth/token HTTP/1.1\r\nHost: service\r\n"
                b"Content-Type: application/x-www-form-urlencoded\r\n"
                b"Content-Length: %d\r\n\r\n" % len(form)
            )
            connection.sendall(form[:5].encode())
            server.get("/livez")  # by now the service has read what was sent before
            server.process.terminate()
            wait_for(lambda: refuses(server))
            assert server.process.poll() is None
            connection.sendall(form[5:].encode())
            assert connection.recv(12) == b"HTTP/1.1 200"
        assert server.process.wait(DEADLINE) == 0


def refuses(server: Server) -> bool:
    try:
        server.get("/livez")
    except httpx2.ConnectError:
        return True
    except httpx2.TransportError:  # it came in while the door was closing
        return False
    return False
