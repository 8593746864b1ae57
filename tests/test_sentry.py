"""Error reports: what is sent to a real receiver, and what is not."""

import re
from pathlib import Path

import httpx2
import pytest

from tools.render import Answers, render

from .conftest import MakeService
from .support.accounts import CHEAP, accounts, sign_up
from .support.network import wait_for
from .support.reports import Reports, reports
from .support.services import DEADLINE, Server, Service, free_port, install
from .support.smtp import mailbox

ROUTES = """
    import logging

    from fastapi import HTTPException
    from starlette.requests import Request
    from tortoise.connection import get_connection

    from .exceptions import OverloadedError

    @app.post("/fail/{name}")
    async def fail(name: str, request: Request, body: dict[str, str]) -> None:
        sent = [name, request.headers["authorization"], request.cookies, request.url, body]
        raise RuntimeError(f"Broken by {len(sent)} values")

    @app.get("/select/{name}")
    async def select(name: str) -> None:
        await get_connection("default").execute_query(f"SELECT * FROM {name}")

    @app.get("/heal")
    async def heal() -> None:
        logging.getLogger("src.healthcare").error("Failed", exc_info=RuntimeError("Broken"))

    @app.get("/unavailable")
    async def unavailable() -> None:
        raise HTTPException(503)

    @app.get("/overloaded")
    async def overloaded() -> None:
        raise OverloadedError

    return app
"""
JOBS = """
from .jobs.queue import job


@job()
async def break_later(name: str) -> None:
    raise RuntimeError(f"Broken by {len(name)} letters")
"""
QUEUE = """
    from .orders import break_later

    @app.get("/later/{name}")
    async def later(name: str) -> None:
        await break_later.enqueue(name)

    return app
"""
DEAD = "SELECT id FROM jobs.pgqueuer WHERE status = 'failed'"
PRIVATE = re.compile(b"hunter2|127\\.0\\.0\\.1", re.IGNORECASE)


@pytest.fixture
def service(make_service: MakeService) -> Service:
    service = make_service("sqlite", answers={"sentry": True})
    service.commands = install(service.folder, "sqlite-sentry")
    service.upgrade()
    service.edit("src/main.py", "\n    return app\n", ROUTES)
    return service


def fail(server: Server) -> httpx2.Response:
    """Send a request that fails, with a secret in each of its parts."""
    return httpx2.post(
        f"{server.url}/fail/hunter2?token=hunter2",
        json={"password": "hunter2"},
        headers={
            "Authorization": "Bearer hunter2",
            "Cookie": "session=hunter2",
            "X-Request-ID": "request-1",
        },
        timeout=DEADLINE,
    )


def check_private(received: Reports) -> None:
    for body in received.bodies:
        assert not PRIVATE.search(body), body


def test_a_failed_request_is_reported_once(service: Service) -> None:
    with reports() as received:
        with service.serve(SENTRY_DSN=received.dsn) as server:
            assert fail(server).status_code == 500
        assert server.process.returncode == 0

    (event,) = received.events
    assert received.paths == ["/api/7/envelope/"]
    assert event["tags"] == {"request_id": "request-1"}
    assert event["release"] == "my-service@0.1.0"
    assert event["environment"] == "development"
    (exception,) = event["exception"]["values"]
    assert (exception["type"], exception["value"]) == ("RuntimeError", "Broken by 5 values")
    frames = exception["stacktrace"]["frames"]
    assert frames[-1]["function"] == "fail"
    assert not any("vars" in frame for frame in frames)
    assert not event.keys() & {"request", "user", "extra", "modules"}
    assert event["breadcrumbs"]["values"] == []
    check_private(received)


def test_a_message_of_the_database_is_not_sent(service: Service) -> None:
    with reports() as received, service.serve(SENTRY_DSN=received.dsn) as server:
        assert server.get("/select/hunter2").status_code == 500

    (event,) = received.events
    assert "OperationalError" in {value["type"] for value in event["exception"]["values"]}
    assert "hunter2" in server.output
    check_private(received)


def test_a_logged_exception_is_reported(service: Service) -> None:
    """Its logger's name begins like that of the probes, which are not reported."""
    with reports() as received, service.serve(SENTRY_DSN=received.dsn) as server:
        assert server.get("/heal").status_code == 200

    (event,) = received.events
    assert [value["value"] for value in event["exception"]["values"]] == ["Broken"]


def test_answered_errors_are_not_reported(service: Service) -> None:
    statuses = {"/nowhere": 404, "/users?limit=0": 401, "/unavailable": 503, "/overloaded": 503}
    with reports() as received, service.serve(SENTRY_DSN=received.dsn) as server:
        for path, status in statuses.items():
            assert server.get(path).status_code == status
        assert httpx2.post(f"{server.url}/users", json={}, timeout=DEADLINE).status_code == 422
        assert httpx2.get(f"{server.url}/fail/it", timeout=DEADLINE).status_code == 405

    assert received.bodies == []


def test_probes_of_a_broken_database_are_not_reported(service: Service) -> None:
    database = service.folder / "broken.sqlite3"
    database.write_text("This is no database. " * 1000, encoding="utf-8")
    environment = {"START_UNREADY": "true", "DATABASE_URL": f"sqlite://{database}"}
    with reports() as received:
        with service.serve(SENTRY_DSN=received.dsn, **environment) as server:
            assert server.get("/readyz").status_code == 503
        assert "The database cannot be used" in server.output

    assert received.bodies == []


def test_service_works_without_the_receiver(service: Service) -> None:
    with service.serve(SENTRY_DSN=f"http://key@127.0.0.1:{free_port()}/7") as server:
        assert fail(server).status_code == 500
        assert server.get("/readyz").status_code == 200
    assert server.process.returncode == 0
    assert server.output.count("Traceback") == 1


def test_wrong_dsn_is_refused_at_start(service: Service) -> None:
    process = service.run("python", "-m", "src", SENTRY_DSN="https://hunter2/7", status=2)

    assert process.stderr == (
        "SENTRY_DSN: Input should be a project's DSN, in the form https://key@host/number."
        " Example: SENTRY_DSN=https://key@errors.example.com/1\n"
    )


def test_dsn_is_hidden(service: Service) -> None:
    def shown(dsn: str = "") -> list[str]:
        listed = service.run("python", "-m", "src", "settings", SENTRY_DSN=dsn).stdout
        return next(line.split() for line in listed.splitlines() if "SENTRY_DSN" in line)

    assert shown() == ["SENTRY_DSN", "default"]
    set_to = shown("https://hunter2@errors.example.com/7")
    assert set_to == ["SENTRY_DSN", "environment", "***"]


def test_without_a_dsn_nothing_is_imported(service: Service) -> None:
    program = "import sys, src.main; print('sentry_sdk' in sys.modules)"

    assert service.run("python", "-c", program).stdout == "False\n"
    dsn = "https://key@errors.example.com/7"
    assert service.run("python", "-c", program, SENTRY_DSN=dsn).stdout == "True\n"


def test_a_dead_job_is_reported_once(make_service: MakeService) -> None:
    service = make_service("postgresql", answers={"sentry": True, "jobs": "postgresql"})
    service.commands = install(service.folder, "postgresql-jobs-sentry")
    service.upgrade()
    service.edit("src/main.py", "\n    return app\n", QUEUE)
    (service.folder / "src" / "orders.py").write_text(JOBS, encoding="utf-8")
    service.edit("src/jobs/config.py", "MODULES = [\n", 'MODULES = [\n    "src.orders",\n')
    with service.serve() as server:
        headers = {"X-Request-ID": "request-1"}
        httpx2.get(f"{server.url}/later/hunter2", headers=headers, timeout=DEADLINE)
    with reports() as received:
        environment = {"SENTRY_DSN": received.dsn, "JOBS_ATTEMPTS": "2"}
        with service.serve("python", "-m", "src", "worker", **environment) as worker:
            wait_for(lambda: bool(service.database.query(DEAD)))
        assert worker.output.count("Broken by 7 letters") > 1  # the first attempt is logged, too

    (event,) = received.events
    ((number,),) = service.database.query(DEAD)
    assert event["tags"] == {
        "request_id": "request-1",
        "job": "break_later",
        "job_id": str(number),
    }
    assert [value["type"] for value in event["exception"]["values"]] == ["RuntimeError"]
    check_private(received)


def test_an_address_in_an_answer_of_the_mail_server_is_not_sent(make_service: MakeService) -> None:
    service = make_service("postgresql", answers={"sentry": True, "jobs": "postgresql"})
    service.commands = install(service.folder, "postgresql-jobs-sentry")
    with accounts(service, **CHEAP) as server:
        assert sign_up(server, "hunter2").status_code == 201
    with reports() as received, mailbox() as box:
        box.verdict = "450 <hunter2@example.com>: try again later"
        environment = {"SENTRY_DSN": received.dsn, "SMTP_URL": box.url, "JOBS_ATTEMPTS": "1"}
        with service.serve("python", "-m", "src", "worker", **environment) as worker:
            wait_for(lambda: bool(service.database.query(DEAD)))
        assert "hunter2@example.com" in worker.output

    (event,) = received.events
    types = [value["type"] for value in event["exception"]["values"]]
    assert types == ["SMTPDataError", "UndeliveredError"]
    check_private(received)


@pytest.mark.parametrize("accounts_too", [True, False])
def test_suite_of_a_service_with_reports(accounts_too: bool, make_service: MakeService) -> None:
    service = make_service("sqlite", answers={"sentry": True, "accounts": accounts_too})
    service.commands = install(service.folder, f"sqlite-sentry{'' if accounts_too else '-plain'}")
    service.run("mypy")
    # what developers have in .env is not used
    tests = service.run("pytest", "-q", "-p", "no:cacheprovider", SENTRY_DSN="https://key@host/7")
    assert " passed" in tests.stdout


def test_without_the_answer_nothing_is_left_of_reports(template: Path, tmp_path: Path) -> None:
    answers: Answers = {
        "database": "postgresql",
        "jobs": "postgresql",
        "observability": True,
        "deployment": "kubernetes",
    }
    folder = render(template, tmp_path / "service", answers)
    for file in folder.rglob("*"):
        name = file.relative_to(folder).as_posix()
        assert "sentry" not in name
        if file.is_file() and name != ".copier-answers.yml":
            assert not re.search("sentry|glitchtip", file.read_text("utf-8"), re.IGNORECASE), name
