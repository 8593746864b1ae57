"""The service's command line: `python -m` and its name."""

import fcntl
import json
import os
import re
import socket
import struct
import subprocess
import termios
from pathlib import Path

import httpx2
import pytest

from tools.screenshots import API_LINES, outline

from .conftest import MakeService
from .support.services import Service, free_port, uv

STATEMENTS = """\
user = await User.create(username="ada", email="ada@example.com", hashed_password="-")
[user.username async for user in User.all()]
User.all().sql()
1 / 0
async def names():
    return await User.all().values_list("email", flat=True)

await names()
"""


@pytest.fixture
def service(make_service: MakeService) -> Service:
    return make_service("sqlite")


def test_help_lists_the_commands(service: Service) -> None:
    output = service.run("python", "-m", "src", "--help").stdout

    commands = re.findall(r"^  ([a-z-]+) ", output, re.MULTILINE)
    assert commands[:4] == ["serve", "migrate", "shell", "create-admin"]
    assert commands[4:] == ["seed", "routes", "settings", "openapi"]
    for command in commands:
        assert service.run("python", "-m", "src", command, "--help").stdout.startswith(
            ("usage: python -m src " + command, "Usage: python -m src " + command)
        )
    assert output.startswith("Usage: python -m src COMMAND ")
    assert max(map(len, output.splitlines())) <= 80
    help_ = service.run("python", "-m", "src", "create-admin", "--help").stdout
    assert re.search(r"^  username +the name to log in with$", help_, re.MULTILINE)
    assert re.search(r"^  email +an address ", help_, re.MULTILINE)


def test_commands_end_quietly_when_their_reader_leaves(service: Service) -> None:
    """As `head` does."""
    for command in ("routes", "openapi", "settings", "--help", "routes --help"):
        reader, writer = os.pipe()
        os.close(reader)
        for unbuffered in ("", "1") if command == "routes" else ("",):
            process = subprocess.run(
                [service.commands / "python", "-m", "src", *command.split()],
                cwd=service.folder,
                env=service.variables({"PYTHONUNBUFFERED": unbuffered}),
                stdout=writer,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
            assert (process.returncode, process.stderr) == (141, ""), command
        os.close(writer)


def test_seed_names_what_it_conflicts_with(service: Service) -> None:
    service.upgrade()
    service.database.query("CREATE UNIQUE INDEX mine ON users (is_active)")

    process = service.run("python", "-m", "src", "seed", status=1)

    assert "UNIQUE constraint failed: users.is_active" in process.stderr
    assert process.stdout == ""


@pytest.mark.parametrize("command", ["COMMAND", "create-admin", "migrate", "settings"])
def test_usage_is_what_was_typed(service: Service, command: str) -> None:
    arguments = ("--help",) if command == "COMMAND" else (command, "--help")
    process = service.run("python", "-m", "src", *arguments, UV="/usr/bin/uv")

    assert process.stdout.lower().startswith(f"usage: uv run python -m src {command} ".lower())


def test_unknown_command_is_refused(service: Service) -> None:
    process = service.run("python", "-m", "src", "sever", status=2)

    assert "There is no command sever." in process.stderr
    assert "serve" in process.stderr


def test_migrate_runs_by_either_name(service: Service) -> None:
    service.run("python", "-m", "src", "migrate", "upgrade")

    assert "applied" in service.run("python", "-m", "src.database.migrate", "status").stdout
    usage = service.run("python", "-m", "src.database.migrate", "upgrade", "--help").stdout
    assert usage.startswith("Usage: python -m src migrate upgrade ")


def test_shell_has_the_models_and_awaits(service: Service) -> None:
    unusable = service.run("python", "-m", "src", "shell", status=1)
    service.upgrade()
    process = service.run("python", "-m", "src", "shell", input=STATEMENTS)

    assert "Migrations are pending" in unusable.stderr
    assert "Traceback" not in unusable.stderr
    assert "['ada']" in process.stdout
    assert 'FROM "users"' in process.stdout
    assert "['ada@example.com']" in process.stdout
    assert "ZeroDivisionError" in process.stderr
    assert service.database.query("SELECT username FROM users") == [("ada",)]


def test_shell_is_ipython_where_it_is_installed(service: Service, tmp_path: Path) -> None:
    service.upgrade()
    statements = tmp_path / "statements"
    statements.write_text(STATEMENTS, encoding="utf-8")

    output = uv(
        service.folder,
        *("run", "--quiet", "--with", "ipython"),
        *("sh", "-c", f"python -m src shell < {statements}"),
        UV_PROJECT_ENVIRONMENT=str(service.commands.parent),
        IPYTHONDIR=str(tmp_path / "ipython"),
        **service.variables(),
    ).stdout

    assert "Out[2]: ['ada']" in output
    assert "ZeroDivisionError" in output
    assert "['ada@example.com']" in output
    assert service.database.query("SELECT username FROM users") == [("ada",)]


def test_help_imports_no_command(service: Service) -> None:
    process = service.run("python", "-X", "importtime", "-m", "src", "--help")

    imported = re.findall(
        r"\| +(fastapi|pydantic|tortoise|src\.\w+)$", process.stderr, re.MULTILINE
    )
    assert imported == ["src.fast_imports"]


def test_routes_lists_who_may_call(make_service: MakeService) -> None:
    service = make_service("sqlite")
    service.edit(
        "src/main.py",
        "\n    return app\n",
        """
    app.mount("/static", lambda scope, receive, send: None, name="static")

    @app.websocket("/orders/news")
    async def news(socket: WebSocket, user: CurrentUser) -> None: ...

    return app
""",
    )
    service.edit(
        "src/main.py",
        "from fastapi import FastAPI",
        "from fastapi import WebSocket\nfrom .auth.dependencies import CurrentUser\n"
        "from fastapi import FastAPI",
    )

    rows = [
        line.split() for line in service.run("python", "-m", "src", "routes").stdout.splitlines()
    ]
    prefixed = service.run("python", "-m", "src", "routes", API_PREFIX="/api/v1", DOCS="off").stdout

    assert max(map(len, prefixed.splitlines())) <= 88  # 80 without the prefix of 7 characters
    assert rows[0] == ["METHOD", "PATH", "NAME", "CALLERS"]
    assert ["POST", "/auth/token", "log_in", "anyone"] in rows
    assert ["PATCH", "/users/me", "change_me", "users"] in rows
    assert ["DELETE", "/users/{user_id}", "remove_user", "admins"] in rows
    assert ["WEBSOCKET", "/orders/news", "news", "users"] in rows
    assert ["MOUNT", "/static", "static", "anyone"] in rows
    assert "/api/v1/users/me" in prefixed
    assert "/docs" not in prefixed


def test_routes_without_accounts(make_service: MakeService) -> None:
    service = make_service("sqlite", answers={"accounts": False})

    output = service.run("python", "-m", "src", "routes").stdout

    assert ["GET", "/readyz", "readyz", "anyone"] in [line.split() for line in output.splitlines()]
    assert "create-admin" not in service.run("python", "-m", "src", "--help").stdout
    assert "no command seed" in service.run("python", "-m", "src", "seed", status=2).stderr


def test_settings_shows_origins_and_hides_secrets(make_service: MakeService) -> None:
    service = make_service("sqlite")
    service.edit(
        "src/settings.py",
        "    @property\n    def serves_docs",
        """    stripe_key: str = Field(default="", description="Key")
    pepper: SecretStr = Field(default=SecretStr("hidden"), description="Pepper")
    hook: str = Field(default="", description="Address", repr=False)

    @property
    def serves_docs""",
    )
    service.edit("src/settings.py", "ValidationError,", "SecretStr, ValidationError,")
    service.edit(".env.example", "# LOG_SQL", "# TEST_DATABASE_URL=\n# LOG_SQL")
    (service.folder / ".env").write_text(
        "PORT=9000\nLOG_LEVEL=WARNING\nSTRIPE_KEY=secret\nLOG_LEVLE=INFO\nTEST_DATABASE_URL=x\n"
    )

    process = service.run(
        *("python", "-m", "src", "settings"),
        LOG_LEVEL="ERROR",
        HOOK="secret",
        SMTP_URL="smtp://user:secret@mail.example.com:587",
    )
    output = process.stdout

    rows = {line.split()[0]: line.split()[1:] for line in output.splitlines()}
    assert rows["HOST"] == ["default", "127.0.0.1"]
    assert rows["PORT"] == [".env", "9000"]
    assert rows["LOG_LEVEL"] == ["environment", "ERROR"]
    assert rows["DATABASE_URL"] == ["environment", service.database.url]
    assert rows["SMTP_URL"] == ["environment", "smtp://user:***@mail.example.com:587"]
    assert rows["STRIPE_KEY"] == [".env", "***"]
    assert rows["PEPPER"] == ["default", "***"]
    assert rows["HOOK"] == ["environment", "***"]
    assert rows["REDIS_URL"] == ["default"]
    assert rows["LOG_SQL"] == ["default", "false"]
    assert "secret" not in output
    assert "hidden" not in output
    unread = ".env has LOG_LEVLE, which the service does not read: did you mean LOG_LEVEL?"
    assert process.stderr == f"{unread}\n"
    for environment, count in (("development", 1), ("production", 0)):  # it is not migrated
        refused = service.run("python", "-m", "src", status=3, ENVIRONMENT=environment)
        logged = refused.stdout + refused.stderr
        assert logged.count(unread) == count


def test_settings_reports_wrong_values_in_plain_words(service: Service) -> None:
    service.edit(
        "src/settings.py",
        "    @property\n    def serves_docs",
        """    stripe_key: str = Field(description="Key")
    is_open: bool = Field(default=False, description="Whether we are open")

    @property
    def serves_docs""",
    )
    values = {
        "PORT": "http",
        "KEEP_ALIVE": "0",
        "PAGE_SIZE": "10001",
        "IS_OPEN": "perhaps",
        "DATABASE_BUSY_TIMEOUT": "soon",
        "SMTP_URL": "smtp://user:a/b@mail.example.com",
    }
    process = service.run("python", "-m", "src", "settings", status=2, **values)

    assert sorted(process.stderr.splitlines()) == [
        "DATABASE_BUSY_TIMEOUT: Input should be a number. Example: DATABASE_BUSY_TIMEOUT=5",
        "IS_OPEN: Input should be true or false. Example: IS_OPEN=false",
        "KEEP_ALIVE: Input should be at least 1. Example: KEEP_ALIVE=5",
        "PAGE_SIZE: Input should be at most 10000. Example: PAGE_SIZE=20",
        "PORT: Input should be a whole number. Example: PORT=8000",
        (
            "SMTP_URL: Write smtp://user:password@host:port, or smtps:// for TLS. In the password, "
            "write / ? # @ % as %2F %3F %23 %40 %25. "
            "Example: SMTP_URL=smtp://user:password@mail.example.com:587"
        ),
        "STRIPE_KEY: Set it in the environment or in .env.",
    ]


def test_errors_in_settings_are_wrapped_in_a_terminal(service: Service) -> None:
    reader, writer = os.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with open(reader, "rb", buffering=0) as terminal, open(writer, "wb") as stderr:
        process = subprocess.run(
            ["python", "-m", "src", "settings"],
            cwd=service.folder,
            env=service.variables({"SMTP_URL": "nonsense"}),
            stderr=stderr,
            check=False,
        )
        shown = terminal.read(4096).decode().splitlines()

    assert process.returncode == 2
    assert shown[0].startswith("SMTP_URL: Write smtp://user:password@host:port, ")
    assert shown[-1].endswith("SMTP_URL=smtp://user:password@mail.example.com:587")
    assert max(map(len, shown)) <= 80


def test_stamp_asks_only_about_files_that_exist(service: Service) -> None:
    service.run("python", "-m", "src", "migrate", "upgrade")

    process = service.run("python", "-m", "src", "migrate", "stamp", "foo", "--applied", status=1)

    message = "There is no file foo: run `python -m src migrate status` to list the names\n"
    assert process.stderr == message


def test_openapi_writes_the_document(service: Service) -> None:
    command = ("python", "-m", "src", "openapi")
    printed = service.run(*command, DOCS="off").stdout
    service.run(*command, "openapi.json")
    unwritable = service.run(*command, "missing/openapi.json", status=1)

    document = json.loads((service.folder / "openapi.json").read_text(encoding="utf-8"))
    pictured = API_LINES.read_text(encoding="utf-8")
    assert outline(document) == pictured, "run: python -m tools.screenshots"
    assert json.loads(printed) == document
    assert "/auth/token" in document["paths"]
    assert "missing/openapi.json cannot be written: No such file" in unwritable.stderr
    assert "Traceback" not in unwritable.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_port_in_use_is_explained(workers: str, service: Service) -> None:
    assert (
        "Set PORT" not in service.run("python", "-m", "src", status=3, PORT=str(free_port())).stderr
    )
    service.upgrade()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        process = service.run("python", "-m", "src", status=3, PORT=port, WEB_CONCURRENCY=workers)

    assert f"Set PORT to a free port, or stop what uses port {port}" in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_host_that_is_not_here_is_explained(host: str, workers: str, service: Service) -> None:
    service.upgrade()

    process = service.run("python", "-m", "src", status=None, HOST=host, WEB_CONCURRENCY=workers)

    assert process.returncode != 0
    assert f"Set HOST to an address of this machine: {host} is none" in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.in_turn
def test_seed_creates_what_is_missing(engine: str, make_service: MakeService) -> None:
    service = make_service(engine)
    seed = ("python", "-m", "src", "seed")
    unusable = service.run(*seed, status=1)
    service.upgrade()
    refused = service.run(
        *seed, ENVIRONMENT="production", REQUIRE_TLS="false", FRONTEND_URL="https://x.de", status=1
    )
    assert service.database.query("SELECT username FROM users") == []
    created = service.run(*seed).stdout
    service.database.query("DELETE FROM users WHERE username = 'ada'")
    again = [service.run(*seed).stdout for _ in range(2)]

    assert "Migrations are pending" in unusable.stderr
    assert "Use this in development only" in refused.stderr
    assert created == "Created admin, ada, grace, alan. The password is: correct horse\n"
    assert again[0].startswith("Created ada. ")
    assert again[1] == "Nothing to do: the sample users exist.\n"
    rows = service.database.query("SELECT username, is_admin FROM users ORDER BY username")
    assert [(name, bool(is_admin)) for name, is_admin in rows] == [
        ("ada", False),
        ("admin", True),
        ("alan", False),
        ("grace", False),
    ]
    with service.serve(LOGIN_NEEDS_VERIFICATION="true") as server:
        form = {"username": "grace", "password": "correct horse"}
        assert httpx2.post(f"{server.url}/auth/token", data=form).status_code == 200
