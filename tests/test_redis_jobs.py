"""Jobs that workers get through Redis survive crashes, on every engine."""

import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml

from tools.render import Answers, git, update

from .conftest import MakeService
from .support.accounts import CHEAP, UNTHROTTLED, accounts, sign_up
from .support.clusters import (
    MariaDB,
    PostgreSQL,
    RedisServer,
    own_mariadb,
    own_postgresql,
    own_redis,
)
from .support.databases import Database, new_database, require
from .support.jobs import (
    BOOKED,
    CANCELLED,
    HEARTBEAT,
    PLACE,
    check_commands,
    check_dashboard,
    documented_service,
    number,
    queue_a_job_that_cancels_its_task,
    received,
    slow_down,
    wait_until_booked,
    worker,
)
from .support.network import Proxy, wait_for
from .support.services import Service, free_port, install
from .support.smtp import mailbox
from .updates.folders import commit

ANSWERS: Answers = {"jobs": "redis"}
QUEUED = "SELECT count(*) FROM queued_jobs"
Documented = Callable[[str], Service]


@pytest.fixture(scope="session")
def documented(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Documented]:
    """Render a service of each engine once, with the jobs of its page on jobs."""
    services: dict[str, Service] = {}
    with ExitStack() as stack:

        def of(engine: str) -> Service:
            if engine not in services:
                folder = tmp_path_factory.mktemp(f"redis-{engine}")
                new = documented_service(template, folder, engine, f"{engine}-redis", ANSWERS)
                services[engine] = stack.enter_context(new)
            return services[engine]

        yield of


@pytest.fixture
def redis(documented: Documented, engine: str) -> Iterator[RedisServer]:
    """A Redis server that runs as in the service's compose.yaml."""
    compose = (documented(engine).folder / "compose.yaml").read_text(encoding="utf-8")
    command: list[str] = yaml.safe_load(compose)["services"]["redis"]["command"]
    assert "--appendonly" in command
    with own_redis(command) as server:
        yield server


@pytest.fixture
def service(
    documented: Documented, engine: str, redis: RedisServer, tmp_path: Path
) -> Iterator[Service]:
    """A copy of that service, with a copy of its database and its own Redis."""
    original = documented(engine)
    folder = shutil.copytree(
        original.folder, tmp_path / "service", ignore=shutil.ignore_patterns(".venv")
    )
    with new_database(engine, tmp_path, original.database) as database:
        service = Service(folder, original.commands, database)
        service.environment = {"REDIS_URL": redis.url, "LOG_LEVEL": "DEBUG"}
        yield service
        service.kill()


@pytest.fixture
def count(request: pytest.FixtureRequest) -> int:
    """How many jobs run."""
    return 1000 if request.config.getoption("--long") else 120


def wait_until_empty(service: Service) -> None:
    wait_for(lambda: number(service, QUEUED) == 0)


def check_booked_once(service: Service, count: int, *outputs: str) -> int:
    """Check that each order was booked once, and return how many jobs were started again."""
    assert number(service, BOOKED) == count
    assert number(service, "SELECT count(DISTINCT order_id) FROM booking") == count
    return sum(output.count("status=started") for output in outputs) - count


@contextmanager
def own_database(service: Service) -> Iterator[Callable[[], None]]:
    """Move a service to a database server that belongs to the test; yield what crashes it."""
    is_mysql = service.database.engine == "mysql"
    start: AbstractContextManager[MariaDB | PostgreSQL]
    start = own_mariadb() if is_mysql else own_postgresql()
    with start as server:
        Database(service.database.engine, server.url).query("CREATE DATABASE service")
        url = f"{server.url.rpartition('/')[0]}/service"
        service.database = Database(service.database.engine, url)
        service.upgrade()
        yield server.crash


def test_killed_worker_loses_no_job(service: Service, count: int) -> None:
    """The jobs are queued while neither a worker nor Redis can be reached.

    Each worker is killed at a fifth of them, with the relay that it contains.
    """
    slow_down(service)
    service.run("python", "-c", PLACE, str(count), REDIS_URL="redis://127.0.0.1:1/0")
    assert number(service, QUEUED) == count
    outputs = []
    for part in range(1, 5):
        with worker(service, **HEARTBEAT) as running:
            wait_until_booked(service, count * part // 5)
            running.process.kill()
        outputs.append(running.output)
    assert number(service, BOOKED) < count

    with worker(service, **HEARTBEAT) as running:
        wait_until_empty(service)
    repeated = check_booked_once(service, count, *outputs, running.output)
    print(f"{count} jobs, 4 workers killed, {repeated} jobs started again, none lost")
    assert 0 < repeated <= 4 * 8


@pytest.mark.in_turn
def test_crash_of_redis_loses_no_job(service: Service, redis: RedisServer, count: int) -> None:
    """Redis is killed three times, and has lost all its data the last time."""
    slow_down(service)
    service.run("python", "-c", PLACE, str(count))
    with worker(service, **HEARTBEAT) as running, worker(service, **HEARTBEAT) as other:
        for part in range(1, 4):
            wait_until_booked(service, count * part // 5)
            redis.kill(lose_data=part == 3)
            assert running.get("/readyz").status_code == 200
            redis.start()
        wait_until_empty(service)
        assert running.process.poll() is other.process.poll() is None
    repeated = check_booked_once(service, count, running.output, other.output)
    print(f"{count} jobs, 3 crashes of Redis, {repeated} jobs started again, none lost")
    assert "Traceback" not in running.output + other.output


@pytest.mark.in_turn
@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_crash_of_the_database_loses_no_job(engine: str, service: Service, count: int) -> None:
    """The same worker goes on each time."""
    require(engine)
    slow_down(service)
    with own_database(service) as crash:
        service.run("python", "-c", PLACE, str(count))
        with worker(service, **HEARTBEAT) as running:
            for part in range(1, 4):
                wait_until_booked(service, count * part // 5)
                crash()
            wait_until_empty(service)
        repeated = check_booked_once(service, count, running.output)
    print(f"{count} jobs, 3 crashes of {engine}, {repeated} jobs started again, none lost")


@pytest.mark.in_turn
def test_job_that_kills_each_worker_is_dead_after_its_attempts(service: Service) -> None:
    service.edit(
        "src/orders/jobs.py",
        "            await Booking",
        "            if order_id == 2:\n                os._exit(9)\n            await Booking",
    )
    service.edit("src/orders/jobs.py", "from tortoise", "import os\n\nfrom tortoise")
    service.run("python", "-c", PLACE, "3")
    attempts = {"JOBS_ATTEMPTS": "2", "JOBS_HEARTBEAT": "2"}
    for _ in range(2):
        port = str(free_port())
        service.run("python", "-m", "src", "worker", status=9, WORKER_PORT=port, **attempts)

    with worker(service, **attempts) as running:
        wait_for(lambda: number(service, f"{QUEUED} WHERE state = 'dead'") >= 1)
        assert running.process.poll() is None
    assert re.search("status=dead .*job=book_order", running.output)
    lines = service.run("python", "-m", "src", "jobs", "list").stdout.splitlines()
    assert lines[1].endswith("book_order  The worker was killed, or blocked for too long")


@pytest.mark.in_turn
def test_stopped_worker_finishes_its_jobs(service: Service) -> None:
    slow_down(service)
    service.run("python", "-c", PLACE, "40")
    with worker(service) as running:
        wait_for(lambda: number(service, BOOKED) > 0)
        assert running.stop() == 0

    assert number(service, BOOKED) + number(service, QUEUED) == 40
    assert number(service, f"{QUEUED} WHERE state = 'running'") == 0


@pytest.mark.in_turn
@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_worker_stops_while_the_database_is_down(engine: str, service: Service) -> None:
    """Its job cannot be given back, and counts as killed later."""
    require(engine)
    service.edit("src/jobs/runner.py", "STOP_TIMEOUT = 30 ", "STOP_TIMEOUT = 1 ")
    slow_down(service)
    service.edit("src/orders/jobs.py", "asyncio.sleep(0.1)", "asyncio.Event().wait()")
    service.run("python", "-c", PLACE, "1")
    with (
        Proxy(service.database.url) as proxy,
        worker(service, DATABASE_URL=proxy.url) as running,
    ):
        wait_for(lambda: "status=started" in running.output)
        proxy.close()
        assert running.stop() == 0
    assert number(service, f"{QUEUED} WHERE state = 'running'") == 1


@pytest.mark.in_turn
@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_worker_without_the_database_does_not_block_the_queue(
    engine: str, service: Service
) -> None:
    """Only its connections are lost, for example because its password is outdated."""
    require(engine)
    service.run("python", "-c", PLACE, "1")
    with Proxy(service.database.url) as proxy, worker(service, DATABASE_URL=proxy.url):
        wait_until_empty(service)  # so the worker has the relay's lock
        proxy.close()
        service.run("python", "-c", PLACE, "1")
        with worker(service):
            wait_until_empty(service)


@pytest.mark.in_turn
def test_workers_queue_a_scheduled_job_once(service: Service) -> None:
    """All of them relay at once, because each has a separate lock."""
    service.edit("src/orders/jobs.py", '"30 2 * * *"', '"* * * * * */2"')  # every two seconds
    service.edit("src/jobs/relay.py", "{STREAM}:relay", "{STREAM}:{id(self)}")
    with worker(service) as first, worker(service) as second, worker(service) as third:
        running = (first, second, third)

        def ticks() -> list[str]:
            outputs = "".join(server.output for server in running)
            return re.findall(r"Scheduled .*due=(\S+)", outputs)

        wait_for(lambda: len(ticks()) >= 6)
        done = sum(server.output.count("status=done") for server in running)
        found = ticks()
    assert len(set(found)) == len(found)
    assert len(found) - 1 <= done <= len(found) + 1


@pytest.mark.in_turn
def test_sign_up_and_its_email_are_one_transaction(service: Service) -> None:
    """The service itself needs no Redis for that."""
    with accounts(service, REDIS_URL="", **CHEAP) as server:
        assert sign_up(server).status_code == 201
        assert sign_up(server).status_code == 409
        os.kill(server.process.pid, signal.SIGKILL)

    assert service.database.query("SELECT name FROM queued_jobs") == [("send_link",)]
    with mailbox() as box, worker(service, SMTP_URL=box.url):
        assert box.wait()["To"] == "ada@example.com"
        wait_until_empty(service)
        assert box.mails.empty()


@pytest.mark.in_turn
def test_emails_wait_for_the_mail_server(service: Service) -> None:
    """All of them arrive, each once, although the mail server is down at first."""
    names = [f"user{number}" for number in range(10)]
    port = free_port()
    url = f"smtp://127.0.0.1:{port}"
    with worker(service, SMTP_URL=url) as running, worker(service, SMTP_URL=url) as other:
        with accounts(service, SMTP_URL=url, **CHEAP, **UNTHROTTLED) as server:
            for name in names:
                assert sign_up(server, name).status_code == 201
        (request_id,) = re.findall(r"POST /users 201 .*request_id=(\w+)", server.output)[:1]

        def output() -> str:
            return running.output + other.output

        wait_for(lambda: output().count("status=failed") >= len(names))
        with mailbox(port=port) as box:
            wait_until_empty(service)
            assert received(box) == Counter(f"{name}@example.com" for name in names)
    assert "#token=" not in output()
    assert output().count("auth.link_sent") == len(names)
    assert re.search(rf"status=done .*request_id={request_id}", output())


@pytest.mark.in_turn
def test_commands_list_retry_and_drop_dead_jobs(service: Service) -> None:
    service.environment["LOG_LEVEL"] = "INFO"
    check_commands(service, QUEUED, "state = 'dead'")


@pytest.mark.in_turn
def test_worker_needs_redis(service: Service) -> None:
    """In production, with TLS."""
    refused = service.run("python", "-m", "src", "worker", status=None, REDIS_URL="")
    assert refused.returncode != 0
    assert "Set REDIS_URL. Example: REDIS_URL=redis://127.0.0.1:6379/0" in refused.stderr
    assert "Traceback" not in refused.stderr
    plain = service.run(
        *("python", "-m", "src", "worker"),
        status=2,
        ENVIRONMENT="production",
        REDIS_URL="redis://redis.example.com:6379/0",
    )
    assert "REDIS_URL: Use rediss:// for TLS" in plain.stderr


@pytest.mark.in_turn
@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_worker_reports_too_few_connections(engine: str, service: Service) -> None:
    require(engine)
    warning = "Raise DATABASE_POOL_MAX, or lower JOBS_CONCURRENCY"
    sizes = {"DATABASE_POOL_MAX": "6"}
    with worker(service, JOBS_CONCURRENCY="5", **sizes) as running:
        wait_for(lambda: re.search(f"{warning} .*needed=7", running.output) is not None)
    service.run("python", "-c", PLACE, "1")
    with worker(service, JOBS_CONCURRENCY="4", **sizes) as running:
        wait_until_empty(service)
    assert warning not in running.output


@pytest.mark.in_turn
def test_certificate_of_redis_is_verified(service: Service, redis: RedisServer) -> None:
    """By the service, which counts attempts in Redis, and by the worker."""
    authority = redis.encrypt()
    service.environment["REDIS_URL"] = redis.url
    with accounts(service, SSL_CERT_FILE="", **CHEAP) as server, worker(service) as running:
        assert sign_up(server).status_code == 503
        refused = "certificate verify failed: self-signed certificate"
        wait_for(lambda: refused in running.output)
    assert refused in server.output
    assert "Traceback" not in running.output + server.output
    trusted = {"SSL_CERT_FILE": str(authority)}
    with accounts(service, **trusted, **CHEAP) as server, worker(service, **trusted) as running:
        assert sign_up(server).status_code == 201
        wait_for(lambda: "job=send_link" in running.output)
    other = {**trusted, "REDIS_URL": redis.url.replace("127.0.0.1", "localhost")}
    with worker(service, **other) as running:
        wait_for(lambda: "Hostname mismatch" in running.output)


@pytest.mark.in_turn
def test_metrics_of_the_queue(make_service: MakeService, engine: str, redis: RedisServer) -> None:
    """The dashboard and the alerts use no others of jobs. The worker reports them without Redis."""
    service = make_service(engine, answers={**ANSWERS, "observability": True})
    service.commands = install(service.folder, f"{engine}-redis-observability")
    service.upgrade()
    service.environment = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    now = {"sqlite": "datetime('now')", "postgresql": "now()", "mysql": "utc_timestamp(6)"}[engine]
    false = "false" if engine == "postgresql" else "0"
    for state in ("queued", "sent", "running", "dead"):
        service.database.query(
            "INSERT INTO queued_jobs "
            "(name, arguments, headers, state, due_at, created_at, attempts, is_scheduled) "
            f"VALUES ('x', '{{}}', '{{}}', '{state}', {now}, {now}, 0, {false})"
        )
    with worker(service) as running:
        found = running.get("/metrics").text
        assert running.get("/readyz").status_code == 200
        wait_for(lambda: "Redis cannot be used" in running.output)
    assert "Traceback" not in running.output
    for state, count in {"queued": 2, "running": 1, "dead": 1}.items():
        assert f'\njobs{{state="{state}"}} {count}.0\n' in found
    assert re.search(r"\njobs_delay_seconds [0-9.]+\n", found)
    assert '\njob_attempts_total{name="remove_stopped_workers",status="killed"} 0.0\n' in found
    check_dashboard(service, found)
    queue_a_job_that_cancels_its_task(service)
    with worker(service, REDIS_URL=redis.url) as running:
        wait_for(lambda: CANCELLED in running.get("/metrics").text)


@pytest.mark.in_turn
def test_jobs_can_be_added_to_a_service(engine: str, make_service: MakeService) -> None:
    """With an update, and the commands that its message and the page on jobs give."""
    service = make_service(engine, answers={"package_name": "src"})
    service.upgrade()
    git(service.folder, "init", "--quiet")
    commit(service.folder)

    update(service.folder, ANSWERS)
    service.commands = install(service.folder, f"{engine}-redis")

    assert len([*(service.folder / "migrations" / "models").glob("*.py")]) == 1
    steps = "Run `python -m src migrate new jobs`, then `python -m src migrate upgrade`."
    for command in ([], ["worker"], ["jobs", "list"]):
        refused = service.run("python", "-m", "src", *command, status=None, PORT=str(free_port()))
        assert refused.returncode != 0
        assert refused.stderr.count(steps) == 1
        assert "Traceback" not in refused.stderr
    compose = (service.folder / "compose.yaml").read_text(encoding="utf-8")
    unready = {"START_UNREADY": "true"}
    with own_redis(yaml.safe_load(compose)["services"]["redis"]["command"]) as redis:
        service.environment = {"REDIS_URL": redis.url}
        with (
            accounts(service, **unready, **CHEAP, **UNTHROTTLED) as server,
            worker(service, **unready) as early,
        ):
            assert sign_up(server).status_code == 503
            assert steps in server.get("/readyz").text
            wait_for(lambda: early.output.count(steps) > 1)
            new = service.run("python", "-m", "src", "migrate", "new", "jobs")
            assert "Verified" in new.stdout
            service.upgrade()
            assert server.get("/readyz").status_code == 200
            assert sign_up(server).status_code == 201
            wait_until_empty(service)
    assert "Traceback" not in early.output + server.output
    assert "Nothing changed" in service.run("python", "-m", "src", "migrate", "new", "more").stdout


@pytest.mark.in_turn
@pytest.mark.parametrize("accounts_too", [True, False])
def test_suite_of_a_service_with_jobs(
    accounts_too: bool, engine: str, make_service: MakeService
) -> None:
    """It needs no Redis. Without accounts, only what is about jobs runs again."""
    service = make_service(engine, answers={**ANSWERS, "accounts": accounts_too})
    name = f"{engine}-redis{'' if accounts_too else '-plain'}"
    service.commands = install(service.folder, name)
    # what developers set is not used
    chosen = () if accounts_too else ("tests/test_jobs.py", "tests/test_relay.py")
    suite = service.run(
        *("pytest", "-q", "-p", "no:cacheprovider", *chosen),
        JOBS_ATTEMPTS="1",
        REDIS_URL="redis://127.0.0.1:1/0",
    )
    assert " passed" in suite.stdout
