"""The rendered service installs, serves, stops, and passes its own checks."""

import json
import os
import re
import secrets
import subprocess
from pathlib import Path

import pytest

from tools.first_migrations import (
    FOLDER,
    NAMES,
    REDIS_NAMES,
    first_migration,
    jobs_migration,
)

from .conftest import MakeService
from .support.answers import NAMES as OTHER_NAMES
from .support.migrating import MIGRATE
from .support.network import Proxy, silent_server, wait_for
from .support.services import DEADLINE, ENVIRONMENTS, TABLES, Server, Service, install, uv


def databases_on_server(service: Service) -> set[str]:
    sql = {
        "postgresql": "SELECT datname::text FROM pg_database",
        "mysql": "SELECT schema_name FROM information_schema.schemata",
    }[service.database.engine]
    return {str(name) for (name,) in service.database.query(sql)}


def test_others_on_the_machine_cannot_read_sqlites_files(make_service: MakeService) -> None:
    service = make_service("sqlite")
    service.upgrade()
    file = Path(service.database.url.removeprefix("sqlite://"))
    with service.serve() as server:
        assert server.get("/readyz").status_code == 200
        files = list(file.parent.glob(f"{file.name}*"))
        assert file in files
        assert {oct(path.stat().st_mode & 0o077) for path in files} == {"0o0"}, files


# an unusual value of each setting
UNUSUAL = """\
ENVIRONMENT=development
HOST=0.0.0.0
PORT=9
LOG_LEVEL=ERROR
LOG_SQL=true
KEEP_ALIVE=77
DOCS=off
START_UNREADY=true
REQUIRE_TLS=false
DATABASE_POOL_MIN=2
DATABASE_POOL_MAX=3
DATABASE_CONNECT_TIMEOUT=0.5
DATABASE_COMMAND_TIMEOUT=7
DATABASE_BUSY_TIMEOUT=0.01
FRONTEND_URL=https://front.example.org/x
SESSION_DAYS=1
SESSION_IDLE_DAYS=2
SESSIONS_PER_USER=1
LOGIN_NEEDS_VERIFICATION=true
MAIL_FROM=x@example.org
SMTP_URL=smtp://127.0.0.1:1
PASSWORD_MEMORY=1024
PASSWORD_ITERATIONS=9
PASSWORD_LANES=2
THROTTLE_LOGIN=1/hour
THROTTLE_SIGN_UP=1/hour
THROTTLE_RESET=1/hour
REDIS_URL=redis://127.0.0.1:1/3
JOBS_CONCURRENCY=2
JOBS_ATTEMPTS=1
JOBS_HEARTBEAT=3600
WORKER_PORT=8
SENTRY_DSN=http://key@127.0.0.1:1/1
ROOT_PATH=/desk
API_PREFIX=/api/v9
TRUSTED_PROXIES=127.0.0.0/8
CORS_ORIGINS=https://app.example.org
PAGE_SIZE=1
PAGE_SIZE_MAX=1
MAX_BODY_VALUES=10
MAX_BODY_SIZE=1024
"""


@pytest.mark.python
@pytest.mark.server
def test_own_suite_passes_and_leaves_development_alone(service: Service) -> None:
    service.upgrade()
    (service.folder / ".env").write_text(f"{UNUSUAL}PAGE_SIZE=many\n")
    # in .env and in the environment: the tests have to ignore both
    service.environment = dict(line.split("=", 1) for line in UNUSUAL.splitlines())
    example = (service.folder / ".env.example").read_text(encoding="utf-8")
    documented = set(re.findall(r"^(?:# )?([A-Z_]+)=", example, re.MULTILINE))
    others = {"DATABASE_URL", "TEST_DATABASE_URL", "DATABASE_PASSWORD", "DATABASE_OWNER_PASSWORD"}
    assert documented - others <= service.environment.keys()
    service.database.query(
        "INSERT INTO users (username, email, hashed_password) VALUES ('ada', 'a@example.com', '-')"
    )
    temporary = service.folder / "tmp"
    temporary.mkdir()
    tell = "from .scratch import NAME\n\n\ndef test_name() -> None:\n    print(f'\\n{NAME=}')\n"
    if service.database.engine != "sqlite":
        (service.folder / "tests" / "test_name.py").write_text(tell)
    output = service.run("pytest", "-s", "-p", "no:cacheprovider", TMPDIR=str(temporary)).stdout

    assert re.search(r"\d+ passed", output)
    assert "skipped" not in output
    assert list(temporary.glob("test-*")) == []
    if service.database.engine != "sqlite":
        (name,) = re.findall(r"^NAME='(test_\w+)'$", output, re.MULTILINE)
        # its own and those that `verify` makes beside it
        assert not [there for there in databases_on_server(service) if there.startswith(name)]
    assert service.database.query("SELECT username FROM users") == [("ada",)]


TAGS = """

class Tag(Model):
    id = fields.BigIntField(primary_key=True)
    name = fields.CharField(max_length=20)
    users: fields.ManyToManyRelation[User] = fields.ManyToManyField("models.User", through="tagged")

    class Meta:
        table = "tags"
"""
TEST_TAGS = """
import pytest
from fastapi import FastAPI
from tortoise.connection import get_connection

from src.database.models import Tag, User


@pytest.mark.parametrize("time", [1, 2])
async def test_tag(time: int, app: FastAPI) -> None:
    assert await get_connection("default").execute_query_dict("SELECT * FROM tagged") == []
    user = await User.create(username="ada", email="ada@example.com", hashed_password="-")
    tag = await Tag.create(name="new")
    await tag.users.add(user)
    assert await tag.users.all().count() == 1
"""


def test_own_suite_deletes_many_to_many_rows_too(service: Service) -> None:
    with (service.folder / "src" / "database" / "models.py").open("a", encoding="utf-8") as models:
        models.write(TAGS)
    service.run(*MIGRATE, "new", "tags")
    (service.folder / "tests" / "test_tags.py").write_text(TEST_TAGS, encoding="utf-8")

    output = service.run("pytest", "-q", "-p", "no:cacheprovider", "tests/test_tags.py").stdout

    assert "2 passed" in output


def test_own_suite_refuses_a_service_configured_before_it(service: Service) -> None:
    process = service.run(
        "python",
        "-c",
        "import src.settings, pytest; raise SystemExit(pytest.main(['-W', 'default']))",
        status=4,
    )

    assert "development database" in process.stderr + process.stdout


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_own_suite_refuses_settings_that_are_set_too_late(service: Service) -> None:
    with (service.folder / "tests" / "__init__.py").open("a", encoding="utf-8") as file:
        file.write('os.environ["PAGE_SIZE"] = "7"\n')

    process = service.run("pytest", status=4)

    assert "Add settings for tests to SETTINGS" in process.stderr + process.stdout


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_own_suite_names_the_server_it_misses(service: Service) -> None:
    for url, fix in (
        ("", "Set it in the environment or in .env"),
        ("nonsense", "Start the URL with"),
    ):
        process = service.run("pytest", status=4, TEST_DATABASE_URL=url)
        line = rf"TEST_DATABASE_URL: {fix}.* Example: TEST_DATABASE_URL=.*\n"
        assert re.fullmatch(line, process.stdout + process.stderr)

    for url, why in (
        (f"{service.database.engine}://x@127.0.0.1:1/x", "Connect call failed"),
        (re.sub("//.*@", "//nobody:wrong@", service.database.url), "nobody"),
    ):
        process = service.run("pytest", status=1, TEST_DATABASE_URL=url)
        output = process.stdout + process.stderr
        assert re.search(f"Correct TEST_DATABASE_URL, or start its server: .*{why}", output)
        assert "Traceback" not in output


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_own_suite_shows_a_bug_in_its_database_as_one(service: Service) -> None:
    start = "    from src.settings import settings"
    service.edit("tests/scratch.py", start, f"    raise AttributeError('a bug')\n{start}")
    process = service.run("pytest", "tests/test_health.py", status=1)

    assert "AttributeError: a bug" in process.stdout
    assert "Correct TEST_DATABASE_URL" not in process.stdout + process.stderr


@pytest.mark.python
def test_types_are_strict(service: Service) -> None:
    assert "Success" in service.run("mypy").stdout
    service.run("ruff", "check", "--no-cache")


@pytest.mark.in_turn
def test_passes_under_other_names(engine: str, make_service: MakeService) -> None:
    service = make_service(engine, answers=OTHER_NAMES[1])

    assert "Success" in service.run("mypy").stdout
    service.run("ruff", "check", "--no-cache")
    assert " passed" in service.run("pytest", "-q", "-p", "no:cacheprovider").stdout


def test_every_module_imports_without_a_database(service: Service) -> None:
    """With websockets, which `websocket_protocol` needs and services add when they use it."""
    modules = [
        ".".join(file.relative_to(service.folder).with_suffix("").parts)
        for file in (service.folder / "src").rglob("*.py")
        if file.name != "__main__.py"
    ]

    uv(
        service.folder,
        *("run", "--quiet", "--with", "websockets"),
        *("python", "-W", "error", "-c", f"import {', '.join(modules)}"),
        UV_PROJECT_ENVIRONMENT=str(service.commands.parent),
        **service.variables(),
    )


def test_dependencies_are_declared_and_used(service: Service) -> None:
    # asyncmy, uvicorn and FastAPI import these by themselves when they are there; the documentation
    # is served from the files of fastapi-offline
    ignored = "DEP002=cryptography|fastapi-offline|httptools|python-multipart|uvloop"
    uv(
        service.folder,
        *("run", "--quiet", "--with", "deptry", "deptry", ".", "--no-ansi"),
        *("--per-rule-ignores", ignored),
        UV_PROJECT_ENVIRONMENT=str(service.commands.parent),
    )


def test_start_imports_nothing_that_it_does_not_use(service: Service) -> None:
    program = "import sys, src.server, src.main; print(*sys.modules)"
    imported = service.run("python", "-c", program).stdout.split()

    assert "src.main" in imported
    assert not {"aerich", "aiosmtplib", "redis", "rich", "zxcvbn_rs_py"}.intersection(imported)


def test_start_builds_no_models_that_only_the_openapi_document_needs(service: Service) -> None:
    program = """
import gc
from src.server import Config
Config("src.main:app", http="src.http_protocol:LimitedProtocol").load()
from fastapi.openapi.models import OpenAPI
from src.health import Ready
print(OpenAPI.__pydantic_complete__, Ready.__pydantic_complete__)
print(gc.isenabled(), gc.get_freeze_count() > 10_000)
"""
    lines = service.run("python", "-c", program).stdout.splitlines()

    assert lines == ["False True", "True True"]


def test_installs_and_passes_with_its_oldest_dependencies(service: Service, tmp_path: Path) -> None:
    uv(
        service.folder,
        *("sync", "--quiet", "--resolution", "lowest-direct"),
        UV_PROJECT_ENVIRONMENT=str(tmp_path / "environment"),
    )
    service.commands = tmp_path / "environment" / "bin"

    assert " passed" in service.run("pytest", "-q", "-p", "no:cacheprovider").stdout


def test_wheels_exist_for_every_platform(service: Service) -> None:
    for platform in ("x86_64-manylinux_2_28", "aarch64-apple-darwin", "x86_64-pc-windows-msvc"):
        for python in ("3.11", "3.14"):
            uv(
                service.folder,
                *("pip", "compile", "--quiet", "--only-binary", ":all:", "--no-header"),
                *("--python-platform", platform, "--python-version", python),
                *("--group", "dev", "--output-file", os.devnull, "pyproject.toml"),
            )


def test_serves_and_stops(service: Service) -> None:
    service.upgrade()

    with service.serve(PYTHONDEVMODE="1") as server:
        assert server.get("/").json() == {"message": "Hello from My Service!"}
        assert server.get("/livez").status_code == 200
        assert server.get("/readyz").json() == {"status": "ready"}
        assert server.get("/docs").status_code == 200
        assert "server" not in server.get("/").headers
    assert server.process.returncode == 0
    assert "ResourceWarning" not in server.output
    assert "Traceback" not in server.output


def test_output_is_read_while_a_server_runs(make_service: MakeService) -> None:
    """A pipe that nobody reads holds 64 KiB, and then its writer."""
    process = make_service("sqlite").popen("python", "-c", "print('x' * 1_000_000)")
    server = Server("", process)

    assert process.wait(DEADLINE) == 0
    server.stop()
    assert len(server.output) > 1_000_000


def test_logs_json_in_production(make_service: MakeService) -> None:
    service = make_service("sqlite")
    service.upgrade()

    for command in (["python", "-m", "src"], ["uvicorn", "src.main:app"]):
        with service.serve(*command, ENVIRONMENT="production") as server:
            server.get("/livez")
        lines = [json.loads(line) for line in server.output.splitlines()]
        assert any(line.get("route") == "/livez" for line in lines)
        assert all({"event", "level", "logger", "timestamp"} <= line.keys() for line in lines)


def test_is_not_ready_before_its_migrations(service: Service) -> None:
    with service.serve(START_UNREADY="true") as server:
        response = server.get("/readyz")
        assert response.status_code == 503
        assert re.search(r"pending: 0_\d+_init\.py", response.json()["detail"])

        service.upgrade()
        assert server.get("/readyz").status_code == 200


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_readiness_answers_although_the_database_does_not(service: Service) -> None:
    with silent_server() as port:
        url = re.sub(r":\d+/", f":{port}/", service.database.url)
        with service.serve(DATABASE_URL=url, START_UNREADY="true") as server:
            answers = [server.get("/readyz") for _ in range(2)]
            assert server.get("/livez").status_code == 200

    for answer in answers:
        assert answer.status_code == 503
        assert "did not answer within 2 s" in answer.json()["detail"]
    assert server.process.returncode == 0


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_frozen_database_is_503_until_it_answers_again(service: Service) -> None:
    service.upgrade()
    with Proxy(service.database.url) as proxy, service.serve(DATABASE_URL=proxy.url) as server:
        assert server.get("/readyz").status_code == 200
        proxy.freeze()
        response = server.get("/readyz")
        assert response.status_code == 503
        assert "did not answer within 2 s" in response.json()["detail"]
        proxy.thaw()
        wait_for(lambda: server.get("/readyz").status_code == 200)
    assert server.process.returncode == 0


@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_suite_passes_on_other_pythons(
    version: str, make_service: MakeService, tmp_path: Path
) -> None:
    service = make_service("sqlite")
    # pyenv's own commands on the PATH start only the version that is switched on
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    path = os.pathsep.join([*map(str, pyenv.glob(f"{version}.*/bin")), os.environ["PATH"]])
    try:
        python = uv(
            tmp_path,
            *("python", "find", version),
            PATH=path,
            UV_PYTHON="",
            UV_PYTHON_DOWNLOADS="never",
        )
    except subprocess.CalledProcessError:
        pytest.skip(f"no Python {version} is installed here")
    environment = ENVIRONMENTS / f"sqlite-{version}"
    uv(
        service.folder,
        *("sync", "--quiet"),
        UV_PYTHON=python.stdout.strip(),
        UV_PROJECT_ENVIRONMENT=str(environment),
    )
    service.commands = environment / "bin"

    assert f"Python {version}" in service.run("python", "--version").stdout
    assert " passed" in service.run("pytest", "-q", "-p", "no:cacheprovider").stdout


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_unreachable_database_is_503_until_it_is_back(service: Service) -> None:
    """Through a proxy that is there, then is not, then is there again."""
    service.upgrade()
    with Proxy(service.database.url) as proxy, service.serve(DATABASE_URL=proxy.url) as server:
        assert server.get("/readyz").status_code == 200
        proxy.close()
        response = server.get("/readyz")
        assert (response.status_code, response.json()["detail"]) == (
            503,
            "The database is not reachable.",
        )
        proxy.open()
        wait_for(lambda: server.get("/readyz").status_code == 200)
    assert server.process.returncode == 0


@pytest.mark.parametrize("engine", ["mysql"], indirect=True)
def test_any_password_logs_in(service: Service) -> None:
    """On PostgreSQL the test server trusts everybody, so only the render's own tests look there."""
    user = f"test_{secrets.token_hex(4)}"
    database = service.database
    name = database.url.rpartition("/")[2]
    for password in ("p@:/#%?w", "p%40%3A%2F%23%25%3Fw"):
        database.query(f"CREATE USER {user} IDENTIFIED BY 'p@:/#%?w'")
        database.query(f"GRANT ALL ON {name}.* TO {user}")
        try:
            url = f"mysql://{user}:{password}@{database.url.partition('@')[2]}"
            service.upgrade(url)
        finally:
            database.query(f"DROP USER {user}")
        assert database.tables() == TABLES


@pytest.mark.parametrize("accounts", NAMES)
def test_first_migration_is_current(accounts: bool, engine: str, make_service: MakeService) -> None:
    service = make_service(engine, answers={"accounts": accounts})
    aerich = str(service.commands / "aerich")

    text = first_migration(service.folder, engine, aerich)

    assert text == (FOLDER / NAMES[accounts].format(engine)).read_text(encoding="utf-8"), (
        "run: python -m tools.first_migrations"
    )


@pytest.mark.in_turn
@pytest.mark.parametrize("accounts", REDIS_NAMES)
def test_migration_of_jobs_is_current(
    accounts: bool, engine: str, make_service: MakeService
) -> None:
    service = make_service(engine, answers={"accounts": accounts, "jobs": "redis"})
    name = f"{engine}-redis{'' if accounts else '-plain'}"
    service.commands = install(service.folder, name)

    text = jobs_migration(service.folder, engine, str(service.commands / "python"))

    assert text == (FOLDER / REDIS_NAMES[accounts].format(engine)).read_text(encoding="utf-8"), (
        "run: python -m tools.first_migrations"
    )


@pytest.mark.parametrize(
    "command",
    [
        ["python", "-m", "src"],
        ["aerich", "upgrade"],
        ["python", "-m", "src.database.migrate", "upgrade"],
        ["uvicorn", "src.main:app"],
    ],
    ids=" ".join,
)
def test_wrong_setting_ends_every_command(command: list[str], make_service: MakeService) -> None:
    service = make_service("sqlite")

    process = service.run(*command, status=None, LOG_LEVEL="LOUD")

    assert process.returncode != 0
    assert "LOG_LEVEL: Input should be 'DEBUG'" in process.stderr
    assert "Traceback" not in process.stderr
