"""`upgrade` and `check` refuse what is not sound, change nothing, and name the file and the way out."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest

from tools.render import ENGINES

from ..conftest import MakeService
from ..support.migrating import FIRST, MIGRATE, applied, write_migration
from ..support.services import Service


def folder(service: Service) -> Path:
    return service.folder / "migrations" / "models"


def one(service: Service, number: int = 1, name: str = "2026_one", *, state: bool = True) -> str:
    table = f"t{number}{name}"
    return write_migration(
        service, f"{number}_{name}", f"CREATE TABLE {table} (id INT)", state=state
    )


def same_number(service: Service) -> None:
    one(service, 1, "2026_a")
    one(service, 1, "2026_b")


def missing_number(service: Service) -> None:
    one(service, 2)


def dotted_name(service: Service) -> None:
    one(service, 1, "2026_v1.2")


def name_without_number(service: Service) -> None:
    (folder(service) / "foo.py").touch()


def no_state(service: Service) -> None:
    one(service, state=False)


def broken_state(service: Service) -> None:
    file = folder(service) / one(service)
    text = file.read_text()
    file.write_text(text[: text.index("MODELS_STATE")] + "MODELS_STATE = 'nonsense'\n")


def syntax_error(service: Service) -> None:
    (folder(service) / "1_2026_one.py").write_text("async def upgrade(:\n")


def no_file_at_all(service: Service) -> None:
    (folder(service) / FIRST).unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (same_number, ("1_2026_a.py and 1_2026_b.py", "renumber 1_2026_b.py")),
        (missing_number, ("Number 1 is missing", "version control")),
        (dotted_name, ("1_2026_v1.2.py", "no dot")),
        (name_without_number, ("foo.py", "use number_name.py")),
        (no_state, ("1_2026_one.py", "MODELS_STATE", "fix-migrations")),
        (broken_state, ("1_2026_one.py cannot be read",)),
        (
            syntax_error,
            ("1_2026_one.py cannot be imported: SyntaxError", "(1_2026_one.py, line 1)"),
        ),
        (no_file_at_all, ("no migration in",)),
    ],
)
def test_unsound_files(
    spoil: Callable[[Service], None], words: tuple[str, ...], make_service: MakeService
) -> None:
    service = make_service("sqlite")
    spoil(service)

    upgrade = service.run(*MIGRATE, "upgrade", status=1)
    check = service.run(*MIGRATE, "check", status=1)

    for word in words:
        assert word in upgrade.stderr
        assert word in check.stdout
    assert "Nothing was changed." in upgrade.stderr
    assert "Traceback" not in upgrade.stderr + check.stderr
    assert len(check.stdout.splitlines()) == 1
    assert service.database.tables() == set()


EMPTY = (
    (["status"], 0),
    (["status", "--json"], 0),
    (["upgrade"], 1),
    (["upgrade", "--to", "1"], 1),
    (["upgrade", "--dry-run"], 1),
    (["downgrade", "0", "--yes"], 1),
    (["stamp", FIRST, "--applied", "--yes"], 1),
    (["verify"], 1),
    (["new", "name"], 1),
    (["new", "--empty", "name"], 1),
    (["renumber"], 1),
    (["renumber", FIRST], 1),
    (["squash", "--yes"], 1),
    (["check"], 1),
)


@pytest.mark.in_turn
def test_folder_without_migrations(service: Service) -> None:
    no_file_at_all(service)

    for command, status in EMPTY:
        process = service.run(*MIGRATE, *command, status=status)
        output = process.stdout + process.stderr
        assert f"There is no migration in {folder(service)}: restore the files" in output, command
        assert "run `python -m src migrate baseline`" in output, command
        assert len(output.splitlines()) <= 2 + ("--json" in command), output
    assert not service.database.tables() - {"aerich"}

    service.run(*MIGRATE, "baseline")
    assert "Verified" in service.run(*MIGRATE, "verify").stdout
    service.run(*MIGRATE, "upgrade")


def test_folder_without_migrations_lists_what_is_applied(make_service: MakeService) -> None:
    service = make_service("sqlite")
    service.run(*MIGRATE, "upgrade")
    no_file_at_all(service)

    process = service.run(*MIGRATE, "status")

    assert process.stdout == f"unknown  {FIRST}\n"
    assert "restore the files from version control" in process.stderr


def test_files_in_another_encoding(make_service: MakeService) -> None:
    """Some editors do not save text as UTF-8."""
    service = make_service("sqlite")
    migrations = service.folder / "migrations"
    files = [
        (migrations / "accepted.txt", ["verify"]),
        (migrations / "samples" / f"{Path(one(service)).stem}.sql", ["verify"]),
        (folder(service) / FIRST, ["check", "verify", "upgrade", "new two"]),
    ]
    for file, commands in files:
        file.parent.mkdir(exist_ok=True)
        text = file.read_bytes() if file.exists() else b""
        file.write_bytes(text + "# café\n".encode("latin-1"))
        for command in commands:
            process = service.run(*MIGRATE, *command.split(), status=1)
            output = process.stdout + process.stderr
            assert f"{file.name} cannot be read: 'utf-8'" in output
            assert "Traceback" not in output
        if text:
            file.write_bytes(text)
        else:
            file.unlink()


def file_gone(service: Service) -> None:
    (folder(service) / "1_2026_one.py").unlink()
    one(service, 1, "2026_other")


def twice(service: Service) -> None:
    service.database.query(
        "INSERT INTO aerich (version, app, content)"
        " SELECT version, app, content FROM aerich WHERE version LIKE '1%'"
    )


def older_one(service: Service) -> None:
    service.database.query("DELETE FROM aerich WHERE version LIKE '0%'")


def newer_release(service: Service) -> None:
    (folder(service) / "1_2026_one.py").unlink()


@pytest.mark.in_turn
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (file_gone, ("1_2026_one.py is applied, but its file is missing", "version control")),
        (twice, ("1_2026_one.py is recorded 2 times", "delete all but one of its rows")),
        (older_one, (f"{FIRST} is not applied, but the newer 1_2026_one.py is", "renumber")),
        (newer_release, ("1_2026_one.py is applied", "a newer release", "run that release")),
    ],
)
def test_unsound_database(
    spoil: Callable[[Service], None], words: tuple[str, ...], service: Service
) -> None:
    one(service)
    service.run(*MIGRATE, "upgrade")
    spoil(service)
    tables, recorded = service.database.tables(), applied(service)

    for options in ([], ["--dry-run"]):
        process = service.run(*MIGRATE, "upgrade", *options, status=1)
        for word in words:
            assert word in process.stderr
        assert "Nothing was changed." in process.stderr

    assert (service.database.tables(), applied(service)) == (tables, recorded)


@pytest.mark.parametrize(("engine", "other"), [*permutations(ENGINES, 2)], indirect=["engine"])
def test_files_of_another_engine(engine: str, other: str, make_service: MakeService) -> None:
    service, stranger = make_service(engine), make_service(other, "stranger")
    (folder(stranger) / FIRST).replace(folder(service) / FIRST)

    for command in ("upgrade", "check"):
        process = service.run(*MIGRATE, command, status=1)
        assert f"{FIRST} is written for another database" in process.stdout + process.stderr

    assert service.database.tables() == set()


def test_database_of_another_engine(make_service: MakeService) -> None:
    service = make_service("sqlite")

    process = service.run(
        *MIGRATE, "upgrade", status=2, DATABASE_URL="mysql://root:secret@127.0.0.1/test"
    )

    assert process.stderr.startswith("DATABASE_URL: Use sqlite://, not mysql://")
    assert len(process.stderr.splitlines()) == 1
    assert "secret" not in process.stderr


@pytest.mark.in_turn
def test_check_needs_no_database(service: Service) -> None:
    unset = replace(service, database=service.database._replace(url=""))
    assert unset.run(*MIGRATE, "check").stdout == "The models match the migrations\n"
    service.edit(
        "src/database/models.py",
        '        table = "users"\n',
        '        table = "users"\n        indexes = (("hashed_password",),)\n',
    )

    process = unset.run(*MIGRATE, "check", status=1)

    assert process.stdout == (
        f"Run `python -m src migrate new NAME`: the models changed since {FIRST} (users)\n"
    )
    assert len(process.stdout.splitlines()) == 1


def test_check_passes_over_what_stays_in_python(service: Service) -> None:
    service.edit(
        "src/database/models.py",
        "hashed_password = fields.CharField(max_length=255)",
        'hashed_password = fields.CharField(max_length=255, default="", validators=[str.isascii])',
    )

    service.run(*MIGRATE, "check")


def run_into(service: Service, output: str, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command with its standard output redirected by a shell."""
    return subprocess.run(
        ["sh", "-c", f'"$@" {output}', "sh", *MIGRATE, *command],
        check=False,
        cwd=service.folder,
        env=service.variables(),
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    "command", [["status"], ["status", "--json"], ["check"], ["--help"], ["upgrade"]]
)
def test_output_that_cannot_be_written(make_service: MakeService, command: list[str]) -> None:
    service = make_service("sqlite")

    full = run_into(service, "> /dev/full", *command)
    assert full.stderr == "The output cannot be written: [Errno 28] No space left on device\n"
    assert full.returncode == 1

    closed = run_into(service, ">&-", *command)
    assert closed.stderr == "Nothing was done: the standard output is closed\n"
    assert closed.returncode == 1


def test_output_that_cannot_hold_every_character(make_service: MakeService) -> None:
    service = make_service("sqlite")
    one(service, 1, "2026_имя")

    listed = service.run(*MIGRATE, "status", PYTHONIOENCODING="latin-1").stdout

    assert listed.splitlines()[1] == r"pending  1_2026_\u0438\u043c\u044f.py"
