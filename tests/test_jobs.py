"""Jobs survive crashes: real workers, servers and databases, killed while jobs run."""

import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tools.render import Answers, git, render, update

from .conftest import MakeService
from .support.accounts import CHEAP, UNTHROTTLED, accounts, sign_up
from .support.clusters import own_postgresql
from .support.databases import Database, new_database
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
from .support.services import DEADLINE, Service, free_port, install
from .support.smtp import mailbox
from .updates.folders import commit

ANSWERS: Answers = {"jobs": "postgresql"}
QUEUED = "SELECT count(*) FROM jobs.pgqueuer"
KILLED = """
    INSERT INTO jobs.pgqueuer (priority, entrypoint, status, queue_manager_id, heartbeat)
    VALUES (0, 'remove_old_log_entries', 'picked', gen_random_uuid(), now() - interval '1 hour')
"""


@pytest.fixture(scope="session")
def documented(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with the jobs of its page on jobs, and a migrated database."""
    folder = tmp_path_factory.mktemp("jobs")
    with documented_service(template, folder, "postgresql", "postgresql-jobs", ANSWERS) as service:
        yield service


@pytest.fixture
def service(documented: Service, tmp_path: Path) -> Iterator[Service]:
    """A copy of that service, with a copy of its database."""
    folder = shutil.copytree(
        documented.folder, tmp_path / "service", ignore=shutil.ignore_patterns(".venv")
    )
    with new_database("postgresql", tmp_path, documented.database) as database:
        service = Service(folder, documented.commands, database)
        yield service
        service.kill()


@contextmanager
def limited_role(service: Service) -> Iterator[tuple[str, str]]:
    """Create a role that reads and writes rows in the schema `public`; yield its name and URL."""
    query = service.database.query
    role = f"limited_{free_port()}"
    query(f"CREATE ROLE {role} LOGIN PASSWORD 'limited'")
    try:
        query(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
        yield role, re.sub("//[^@]*@", f"//{role}:limited@", service.database.url)
    finally:
        query(f"DROP OWNED BY {role}")
        query(f"DROP ROLE {role}")


def wait_until_empty(service: Service) -> None:
    wait_for(lambda: number(service, QUEUED) == 0)


def check_booked_once(service: Service, count: int) -> int:
    """Check that each order was booked once, and return how many jobs were started again."""
    assert number(service, BOOKED) == count
    assert number(service, "SELECT count(DISTINCT order_id) FROM booking") == count
    started = "SELECT count(*) FROM jobs.pgqueuer_log WHERE status = 'picked' AND entrypoint = 'book_order'"
    return number(service, started) - count


@pytest.fixture
def count(request: pytest.FixtureRequest) -> int:
    """How many jobs run."""
    return 1000 if request.config.getoption("--long") else 120


def test_documented_job_is_clean(service: Service) -> None:
    service.run("ruff", "check", "--no-cache")
    service.run("ruff", "format", "--check", "--no-cache")
    service.run("mypy")


def test_killed_worker_loses_no_job(service: Service, count: int) -> None:
    """The jobs are queued while no worker runs. Each worker is killed at a fifth of them."""
    slow_down(service)
    service.run("python", "-c", PLACE, str(count))
    assert number(service, QUEUED) == count
    kills = 0
    for part in range(1, 5):
        with worker(service, **HEARTBEAT) as running:
            wait_until_booked(service, count * part // 5)
            running.process.kill()
            kills += 1
    assert number(service, BOOKED) < count

    with worker(service, **HEARTBEAT):
        wait_until_empty(service)

    repeated = check_booked_once(service, count)
    print(f"{count} jobs, {kills} workers killed, {repeated} jobs started again, none lost")
    assert 0 < repeated <= kills * 8


def test_job_that_kills_each_worker_is_dead_after_its_attempts(service: Service) -> None:
    """The workers are started again, as a supervisor does. Jobs that run beside it are not dead."""
    service.edit(
        "src/orders/jobs.py",
        "            await Booking",
        "            await asyncio.sleep(0.1)\n"
        "            if order_id == 2:\n                os._exit(9)\n"
        "            await Booking",
    )
    service.edit(
        "src/orders/jobs.py", "from tortoise", "import asyncio\nimport os\n\nfrom tortoise"
    )
    service.run("python", "-c", PLACE, "3")
    attempts = {"JOBS_ATTEMPTS": "4", "JOBS_HEARTBEAT": "2"}
    for _ in range(4):
        with worker(service, **attempts) as running:
            running.process.wait(DEADLINE)

    with worker(service, **attempts) as running:
        wait_for(lambda: number(service, f"{QUEUED} WHERE status <> 'failed'") == 0)
        assert running.process.poll() is None
    assert re.search("status=dead attempt=4 job=book_order", running.output)
    assert service.database.query("SELECT order_id FROM booking ORDER BY 1") == [(1,), (3,)]
    summary, line = service.run("python", "-m", "src", "jobs", "list").stdout.splitlines()
    assert summary == "0 queued, 0 running, 1 dead"
    assert line.endswith("book_order  The worker was killed, or blocked for too long")


def test_crash_of_the_database_loses_no_job(service: Service, count: int) -> None:
    """The same worker goes on each time."""
    slow_down(service)
    with own_postgresql() as server:
        Database("postgresql", server.url).query("CREATE DATABASE service")
        service.database = Database("postgresql", f"{server.url.rpartition('/')[0]}/service")
        service.upgrade()
        service.run("python", "-c", PLACE, str(count))
        with worker(service, **HEARTBEAT):
            for part in range(1, 4):
                wait_until_booked(service, count * part // 5)
                server.crash()
            wait_until_empty(service)

        repeated = check_booked_once(service, count)
    print(f"{count} jobs, 3 crashes of PostgreSQL, {repeated} jobs started again, none lost")


def test_stopped_worker_finishes_its_jobs(service: Service) -> None:
    slow_down(service)
    service.run("python", "-c", PLACE, "40")
    with worker(service) as running:
        wait_for(lambda: number(service, BOOKED) > 0)
        assert running.stop() == 0

    assert number(service, BOOKED) + number(service, QUEUED) == 40
    assert number(service, f"{QUEUED} WHERE status = 'picked'") == 0


def test_stopped_worker_gives_back_a_job_that_ignores_a_cancellation(service: Service) -> None:
    service.edit("src/jobs/runner.py", "STOP_TIMEOUT = 30 ", "STOP_TIMEOUT = 1 ")
    service.edit("src/orders/jobs.py", "@job(timeout=30)", "@job(timeout=3600)")
    service.edit(
        "src/orders/jobs.py",
        "            await Booking",
        "            with suppress(asyncio.CancelledError):\n"
        "                await asyncio.Event().wait()\n"
        "            await asyncio.Event().wait()\n"
        "            await Booking",
    )
    service.edit(
        "src/orders/jobs.py",
        "from tortoise",
        "import asyncio\nfrom contextlib import suppress\n\nfrom tortoise",
    )
    service.run("python", "-c", PLACE, "1")
    with worker(service, LOG_LEVEL="DEBUG") as running:
        wait_for(lambda: "status=started" in running.output)
        assert running.stop() == 0
    assert "status='given back'" in running.output
    assert number(service, f"{QUEUED} WHERE status = 'queued' AND attempts = 1") == 1


def test_schedule_that_was_changed_back_is_not_due_at_once(service: Service) -> None:
    """A release changes the time, and is rolled back when the old time has passed."""

    def is_known(minute: str) -> bool:
        found = (
            "SELECT count(*) FROM jobs.pgqueuer_schedules WHERE status = 'queued' "
            "AND entrypoint = 'remove_unbooked_orders' AND next_run > now() AND expression = "
        )
        return number(service, f"{found}'{minute} 2 * * *'") == 1

    for minute, following in (("30", "45"), ("45", "30"), ("30", "30")):
        with worker(service):
            wait_for(partial(is_known, minute))
        service.database.query(
            "UPDATE jobs.pgqueuer_schedules SET next_run = next_run - interval '2 days'"
        )
        service.edit("src/orders/jobs.py", f'"{minute} 2 * * *"', f'"{following} 2 * * *"')
    queued = "SELECT count(*) FROM jobs.pgqueuer_log WHERE entrypoint = 'remove_unbooked_orders'"
    assert number(service, queued) == 0


def test_two_workers_queue_a_scheduled_job_once(service: Service) -> None:
    service.edit("src/orders/jobs.py", '"30 2 * * *"', '"* * * * * */2"')  # every two seconds
    ticks = """
        SELECT date_bin('2 s', created, '2000-01-01') AS tick, count(*) FROM jobs.pgqueuer_log
        WHERE status = 'queued' AND entrypoint = 'remove_unbooked_orders' GROUP BY 1
    """
    with worker(service), worker(service), worker(service):
        wait_for(lambda: len(service.database.query(ticks)) >= 8)

    assert {queued for _, queued in service.database.query(ticks)} == {1}


def test_scheduled_job_is_queued_while_no_connection_is_free(service: Service) -> None:
    """The worker's own connection is the only one."""
    service.edit("src/orders/jobs.py", '"30 2 * * *"', '"* * * * * */2"')
    with worker(service, DATABASE_POOL_MAX="1"):
        scheduled = f"{QUEUED} WHERE entrypoint = 'remove_unbooked_orders'"
        wait_for(lambda: number(service, scheduled) == 1)


def test_sign_up_and_its_email_are_one_transaction(service: Service) -> None:
    with accounts(service, **CHEAP) as server:
        assert sign_up(server).status_code == 201
        assert sign_up(server).status_code == 409
        os.kill(server.process.pid, signal.SIGKILL)

    assert service.database.query("SELECT entrypoint FROM jobs.pgqueuer") == [("send_link",)]
    with mailbox() as box, worker(service, SMTP_URL=box.url):
        assert box.wait()["To"] == "ada@example.com"
        wait_until_empty(service)
        assert box.mails.empty()


def test_emails_wait_for_the_mail_server(service: Service) -> None:
    """All of them arrive, each once, although the mail server is down at first."""
    names = [f"user{number}" for number in range(10)]
    port = free_port()
    url = f"smtp://127.0.0.1:{port}"
    with worker(service, SMTP_URL=url) as running:
        with accounts(service, SMTP_URL=url, **CHEAP, **UNTHROTTLED) as server:
            for name in names:
                assert sign_up(server, name).status_code == 201
        wait_for(lambda: running.output.count("status=failed") >= len(names))
        with mailbox(port=port) as box:
            wait_until_empty(service)
            assert received(box) == Counter(f"{name}@example.com" for name in names)
    assert "#token=" not in running.output
    assert running.output.count("auth.link_sent") == len(names)


def test_log_lines_of_an_email_have_the_id_of_the_request(service: Service) -> None:
    with accounts(service, **CHEAP) as server:
        sign_up(server)
    (request_id,) = re.findall(r"POST /users 201 .*request_id=(\w+)", server.output)
    with worker(service) as running:
        wait_until_empty(service)
    assert re.search(rf"status=done .*request_id={request_id}", running.output)


def test_commands_list_retry_and_drop_dead_jobs(service: Service) -> None:
    check_commands(service, QUEUED, "status = 'failed'")


def test_metrics_of_the_queue_are_unknown_without_the_database(make_service: MakeService) -> None:
    """The dashboard and the alerts use no other metrics of jobs."""
    service = make_service("postgresql", answers={**ANSWERS, "observability": True})
    service.commands = install(service.folder, "postgresql-jobs-observability")
    service.upgrade()
    service.database.query(KILLED)
    queue_a_job_that_cancels_its_task(service)
    with (
        Proxy(service.database.url) as proxy,
        worker(service, DATABASE_URL=proxy.url) as running,
    ):
        attempts = '\njob_attempts_total{name="remove_old_log_entries",status="%s"} %s\n'
        wait_for(lambda: attempts % ("killed", "1.0") in running.get("/metrics").text)
        assert attempts % ("dead", "0.0") in running.get("/metrics").text
        wait_for(lambda: CANCELLED in running.get("/metrics").text)
        service.database.query("DELETE FROM jobs.pgqueuer")
        found = running.get("/metrics").text
        assert '\njobs{state="dead"} 0.0\n' in found
        assert "\njobs_delay_seconds 0.0\n" in found
        check_dashboard(service, found)
        proxy.close()
        found = running.get("/metrics").text
        assert "\njobs{" not in found
        assert "\njobs_delay_seconds NaN\n" in found
        proxy.open()


def test_jobs_can_be_added_to_a_service(
    make_service: MakeService, template: Path, tmp_path: Path
) -> None:
    """With an update, and the commands that its message and the page on jobs give."""
    service = make_service("postgresql", answers={"package_name": "src"})
    service.upgrade()
    git(service.folder, "init", "--quiet")
    commit(service.folder)

    update(service.folder, ANSWERS)
    service.commands = install(service.folder, "postgresql-jobs")

    migrations = sorted((service.folder / "migrations" / "models").glob("*.py"))
    assert len(migrations) == 1
    steps = "Run `python -m src jobs migration`, then `python -m src migrate upgrade`."
    for command in ([], ["worker"], ["jobs", "list"]):
        refused = service.run("python", "-m", "src", *command, status=None, PORT=str(free_port()))
        assert refused.returncode != 0
        assert refused.stderr.count(steps) == 1
        assert "Traceback" not in refused.stderr
    with (
        accounts(service, START_UNREADY="true", **CHEAP) as server,
        worker(service, START_UNREADY="true") as early,
    ):
        assert sign_up(server).status_code == 503
        unready = server.get("/readyz")
        assert (unready.status_code, steps in unready.text) == (503, True)
        assert early.get("/readyz").status_code == 503
        wait_for(lambda: early.output.count(steps) > 1)  # at the start, and when it reads the queue
        assert "Wrote" in service.run("python", "-m", "src", "jobs", "migration").stdout
        assert "Verified" in service.run("python", "-m", "src", "migrate", "verify").stdout
        service.upgrade()
        assert server.get("/readyz").status_code == 200
        assert sign_up(server).status_code == 201
        wait_until_empty(service)
    assert "Traceback" not in early.output
    assert server.output.count(steps) == 2  # at the start, and at the sign-up
    assert "Traceback" not in server.output
    assert "Nothing to do" in service.run("python", "-m", "src", "jobs", "migration").stdout
    fresh = render(template, tmp_path / "fresh", {"database": "postgresql", **ANSWERS})
    (written,) = (service.folder / "migrations" / "models").glob("1_*_jobs.py")
    (rendered,) = (fresh / "migrations" / "models").glob("1_*_jobs.py")
    assert written.read_text(encoding="utf-8") == rendered.read_text(encoding="utf-8")


def test_role_needs_rights_to_the_queue(service: Service) -> None:
    """All that the page on jobs grants: a job is read, written and dropped."""
    message = "Grant the database role rights to the queue's tables:"
    page = (service.folder / "docs" / "jobs.md").read_text(encoding="utf-8")
    grants = re.findall(r"GRANT [^`]*SCHEMA jobs TO", page)
    with limited_role(service) as (role, url):
        for granted in ([], ["GRANT SELECT ON ALL TABLES IN SCHEMA jobs TO"]):
            for grant in granted:
                service.database.query(f"{grant} {role}")
            refused = service.run("python", "-m", "src", "worker", status=None, DATABASE_URL=url)
            assert refused.returncode != 0
            assert message in refused.stderr
        refused = service.run(
            "python", "-m", "src", "jobs", "retry", "1", status=1, DATABASE_URL=url
        )
        assert refused.stderr.startswith(message)
        for grant in grants:
            service.database.query(f"{grant} {role}")
        service.database.query(KILLED)
        with worker(service, DATABASE_URL=url) as running:
            assert running.get("/readyz").status_code == 200
            wait_until_empty(service)


@pytest.mark.parametrize("accounts_too", [True, False])
def test_suite_of_a_service_with_jobs(accounts_too: bool, make_service: MakeService) -> None:
    service = make_service("postgresql", answers={**ANSWERS, "accounts": accounts_too})
    service.commands = install(service.folder, f"postgresql-jobs{'' if accounts_too else '-plain'}")
    service.run("mypy")
    # what developers set is not used
    suite = service.run("pytest", "-q", "-p", "no:cacheprovider", JOBS_ATTEMPTS="1")
    assert " passed" in suite.stdout


def test_without_jobs_nothing_is_left_of_them(template: Path, tmp_path: Path) -> None:
    answers: Answers = {
        "database": "postgresql",
        "observability": True,
        "deployment": "kubernetes",
    }
    folder = render(template, tmp_path / "service", answers)
    for file in folder.rglob("*"):
        name = file.relative_to(folder).as_posix()
        if file.is_file() and "/migrate/" not in name:
            assert not re.search(r"(^|/)(jobs|worker)", name)
            text = file.read_text(encoding="utf-8")
            assert not re.search(r"pgqueuer|WORKER_PORT|JOBS_|jobs\.md|enqueue", text), name


def test_without_jobs_a_failed_email_is_sent_again(make_service: MakeService) -> None:
    port = free_port()
    with accounts(make_service("sqlite"), SMTP_URL=f"smtp://127.0.0.1:{port}", **CHEAP) as server:
        assert sign_up(server).status_code == 201
        wait_for(lambda: "An email could not be sent" in server.output)
        assert "auth.link_sent" not in server.output
        with mailbox(port=port) as box:
            assert box.wait()["To"] == "ada@example.com"
            wait_for(lambda: server.output.count("auth.link_sent") == 1)
