"""The commands of the documents work as pasted, and what the documents say is true."""

import os
import re
import shlex
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path

import httpx2
import pexpect
import pytest

from tools.recording import COMMANDS, record, recorded, without_times
from tools.releases import releases
from tools.render import REPOSITORY, git, render
from tools.screenshots import API, SCREENS, TESTS
from tools.tables import INCLUDED, PAGES, included, with_tables

from .conftest import MakeService
from .support import model_changes
from .support.databases import SERVERS, new_database
from .support.documentation import apply, blocks, commands, serving
from .support.services import DEADLINE, ENVIRONMENTS, bare_environment, free_port, mypy_cache

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_ci_runs_the_test_command() -> None:
    lines = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8").splitlines()

    install, _, test = commands(README)[-1].rpartition(" && ")
    assert install in [re.sub(r"\buv==[0-9.]+$", "uv", line) for line in lines]
    assert f'"${{servers[@]}}" --installed mariadb postgresql -- {test} || status=$?' in lines


def test_tables_are_current() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert with_tables(text) == text, "run: python -m tools.tables"
    assert included() == INCLUDED.read_text(encoding="utf-8"), "run: python -m tools.tables"


def test_everyday_commands(template: Path, tmp_path: Path) -> None:
    """Copy as the README says, at a release, and update to a later one."""
    copy, update = (line for line in commands(README) if line.startswith("uvx "))
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(template), str(clone))
    git(clone, "tag", "v0.1.0")
    copy = copy.replace("<repository>", str(clone)) + " --defaults --quiet"
    service = tmp_path / "my-service"

    def run(command: str, folder: Path) -> None:
        uvx = [sys.executable, "-m", "uv", "tool", "run"]
        subprocess.run([*uvx, *shlex.split(command)[1:]], cwd=folder, check=True)

    run(copy, tmp_path)
    assert "_commit: v0.1.0" in (service / ".copier-answers.yml").read_text(encoding="utf-8")
    git(service, "init", "--quiet")
    git(service, "add", "--all")
    git(service, "commit", "--quiet", "--message", "Start")

    file = clone / "template" / ".gitignore.jinja"
    file.write_text("/new\n" + file.read_text(encoding="utf-8"), encoding="utf-8")
    git(clone, "commit", "--all", "--quiet", "--message", "Fix")
    git(clone, "tag", "v0.1.1")
    (service / "migrations" / "models" / "1_20270101000000_mine.py").write_text("mine = 1\n")
    (service / "README.md").write_text("Mine.\n", encoding="utf-8")
    git(service, "add", "--all")
    git(service, "commit", "--quiet", "--message", "Mine")
    run(update, service)

    assert (service / ".gitignore").read_text(encoding="utf-8").startswith("/new\n")
    assert git(service, "diff", "--name-only").split() == [".copier-answers.yml", ".gitignore"]


def test_everyday_commands_of_a_service_are_in_its_documentation(
    template: Path, tmp_path: Path
) -> None:
    """Its tests follow that documentation, so the README's commands are executed, too."""
    service = render(template, tmp_path / "service")
    pages = [service / "README.md", *(service / "docs").iterdir()]
    documented = [line for page in pages for line in commands(page.read_text(encoding="utf-8"))]
    everyday = [line for line in commands(README) if line.startswith("uv run ")]

    assert len(everyday) == 5
    for line in everyday:
        assert line.replace("add_full_name", "add_notes") in documented, line


def test_tutorial_uses_the_commands_of_the_readme() -> None:
    """And the one that quickstart.py prints: tests execute all of them."""
    tutorial = commands((REPOSITORY / "docs" / "tutorial.md").read_text(encoding="utf-8"))
    printed = [line.strip() for line in recorded(README).splitlines()]

    assert [line for line in tutorial if line not in {*commands(README), *printed}] == []


def test_recording_is_current() -> None:
    """Run what the README shows, except the service's own tests, which take long."""
    shown = recorded(README)
    *commands, tests = COMMANDS

    assert max(map(len, shown.splitlines())) <= 80
    assert f"$ {' '.join(tests)}\n" in shown
    assert re.search(r"^\d+ passed$", shown, re.MULTILINE)
    recording = record(commands)
    assert without_times(shown).startswith(without_times(recording)), (
        "run: python -m tools.recording"
    )


def test_tree_is_a_rendered_services(template: Path, tmp_path: Path) -> None:
    service = render(template, tmp_path / "my-service")
    tree = README.partition("```text\nmy-service/\n")[2].partition("```")[0]
    parents: list[str] = []
    shown = set()

    for line in tree.splitlines():
        name = line.split(maxsplit=1)[0]
        level = (len(line) - len(line.lstrip())) // 4 - 1
        parents[level:] = [name]
        path = "".join(parents)
        file = service / path
        assert file.is_dir() if path.endswith("/") else file.is_file(), path
        shown.add(path.split("/")[0])

    folders = {path.name for path in service.iterdir() if path.is_dir()}
    assert folders <= shown


def test_pictures_are_small_and_current() -> None:
    """tests/test_commands.py compares the picture of `/docs` with a service."""
    terminal = TESTS.read_text(encoding="utf-8").replace("&#160;", " ")
    (passed,) = re.findall(r"^(\d+ passed)$", recorded(README), re.MULTILINE)

    assert passed in terminal, "run: python -m tools.screenshots"
    for picture in (API, TESTS):
        assert picture.stat().st_size < 150_000
        assert f"(docs/pictures/{picture.name})" in README
    tutorial = (REPOSITORY / "docs" / "tutorial.md").read_text(encoding="utf-8")
    for picture in SCREENS.values():
        assert picture.stat().st_size < 50_000
        assert f"(pictures/{picture.name})" in tutorial


def test_claims_are_counted() -> None:
    changes = len(model_changes.CHANGES)

    assert f"in {changes} ways" in " ".join(README.split())
    assert releases()[0].version in README


def test_contributing_commands_work(tmp_path: Path) -> None:
    """Those that change nothing else than what is tested elsewhere."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    line = next(command for command in commands(text) if "tools.render" in command)
    arguments = shlex.split(line.replace("build/try", str(tmp_path / "try")))[2:]

    subprocess.run([sys.executable, *arguments[1:]], cwd=REPOSITORY, check=True)

    assert "asyncpg" in (tmp_path / "try" / "pyproject.toml").read_text(encoding="utf-8")
    assert (tmp_path / "try" / "app" / "main.py").is_file()


def test_changelog_heads_the_version() -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "version"
    ]
    headings = re.findall(
        r"^## (?:Unreleased|(\S+) - \d{4}-\d\d-\d\d)$",
        (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )

    released = [heading for heading in headings if heading]
    assert headings
    assert version == next(iter(released), "0.0.0")


CURL = ("api=", "token=", "curl ")
COMMIT = [
    "/bin/sh",
    "-ec",
    "git add --all; git -c user.name=A -c user.email=a@b.de commit -qm Lock",
]


def from_sign_up_to_logout(lines: list[str], url: str) -> None:
    """Run the commands that call the service, as one shell would."""
    script = [line for line in lines if line.startswith(CURL)]
    assert script[0] == "api=http://127.0.0.1:8000"
    script[0] = f"api={url}"
    script.append("echo; " + next(line for line in script if "/users/me" in line))
    output = subprocess.run(
        ["/bin/sh", "-c", "\n".join(script)], check=True, capture_output=True, text=True
    ).stdout
    signed_up, _, rest = output.partition("}")
    assert '"username":"ada"' in signed_up
    me, sessions = rest.split('{"items":')
    assert '"email":"ada@example.com"' in me
    assert '"device":"curl/' in sessions
    assert '"status":401' in sessions  # after the logout


def profile(command: str, folder: Path, environment: dict[str, str]) -> None:
    """Profile the service, and stop it at a terminal: without one, uv passes Ctrl-C on twice."""
    shell = pexpect.spawn(
        "/bin/sh",
        ["-c", command],
        cwd=str(folder),
        env=environment,
        timeout=DEADLINE,
    )
    shell.expect("running on")
    shell.sendintr()
    shell.expect(pexpect.EOF)
    assert (folder / "profile.html").stat().st_size > 0


def restore_backup(folder: Path, environment: dict[str, str]) -> None:
    """Replace the database with its backup, as docs/operations.md says."""
    backup = folder / "backup.sqlite3"
    assert backup.stat().st_mode & 0o077 == 0  # it has password hashes
    for end in ("-wal", "-shm"):
        (folder / f"db.sqlite3{end}").unlink(missing_ok=True)
    backup.replace(folder / "db.sqlite3")
    upgrade = ["uv", "run", "python", "-m", "src", "migrate", "upgrade"]
    subprocess.run(upgrade, cwd=folder, env=environment, check=True)
    with closing(sqlite3.connect(folder / "db.sqlite3")) as database:
        names = database.execute("SELECT username FROM users").fetchall()
    assert ("ada",) in names


def test_service_readme_commands(engine: str, template: Path, tmp_path: Path) -> None:
    """Follow the service's README and documentation from the top, as its new owner."""
    folder = render(template, tmp_path / "service", {"database": engine})
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Start")
    port = free_port()
    environment = {
        **bare_environment(),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "UV_PYTHON": sys.executable,
        "UV_PROJECT_ENVIRONMENT": str(ENVIRONMENTS / engine),
        "MYPY_CACHE_DIR": str(mypy_cache()),
        "PYTEST_ADDOPTS": "-k health",  # tests/test_service.py runs all tests
        "PORT": str(port),
        "UVICORN_PORT": str(port),  # of uvicorn's own command
        "PRE_COMMIT_HOME": str(tmp_path / "hooks"),
    }
    seen = []
    with new_database(engine, tmp_path) as database:
        pages = [folder / "README.md", *sorted((folder / "docs").iterdir())]
        pages.remove(folder / "docs" / "first-resource.md")  # test_first_resource.py follows it
        texts = [page.read_text(encoding="utf-8") for page in pages]
        # tests/updates/test_faults.py renames the package
        texts = [text.partition("### Rename the package")[0] for text in texts]
        lines = [line for text in texts for line in commands(text)]
        for line in lines:
            seen.append(line)
            if line.startswith("uvx copier update"):
                subprocess.run(COMMIT, cwd=folder, env=environment, check=True)
            if line.startswith("export TEST_DATABASE_URL="):
                environment["TEST_DATABASE_URL"] = SERVERS[engine]
            elif line == "uv run python -m src":
                url = f"http://127.0.0.1:{port}"
                with serving(line, folder, environment, url):
                    assert httpx2.get(f"{url}/readyz").status_code == 200
                    from_sign_up_to_logout(lines, url)
            elif "--reload" in line:
                with serving(line, folder, environment, f"http://127.0.0.1:{port}/readyz"):
                    pass
            elif "pyinstrument" in line:
                profile(line, folder, environment)
            elif line.startswith(CURL):
                continue  # done while it was served
            elif "create-database" in line:
                database.drop()
                subprocess.run(["/bin/sh", "-c", line], cwd=folder, env=environment, check=True)
            elif "create-admin" in line:
                line = f"echo 'correct horse' | {line}"
                done = subprocess.run(
                    ["/bin/sh", "-c", line],
                    cwd=folder,
                    env=environment,
                    check=True,
                    capture_output=True,
                    text=True,
                )
                assert done.stdout == "boss is an administrator now.\n"
            else:
                subprocess.run(["/bin/sh", "-c", line], cwd=folder, env=environment, check=True)
            if line == "cp .env.example .env":
                example = (folder / ".env").read_text(encoding="utf-8")
                assert "\nDATABASE_URL=" in example
                text = re.sub(r"(?<=\nDATABASE_URL=).*", lambda _: database.url, example)
                (folder / ".env").write_text(text, encoding="utf-8")
        if engine == "sqlite":
            restore_backup(folder, environment)
    assert {"uv sync", "uv run pytest", "uvx copier update --defaults"} <= set(seen)
    assert (folder / ".git" / "hooks" / "pre-commit").is_file()
    assert git(folder, "diff", "--name-only") == ""


@pytest.mark.parametrize("accounts", [True, False], ids=["accounts", "plain"])
def test_service_snippets_are_clean(accounts: bool, make_service: MakeService) -> None:
    """The Python code in the documentation suits the service's linter and type checker."""
    service = make_service("sqlite", answers={"accounts": accounts})
    written = []
    for page in sorted((service.folder / "docs").iterdir()):
        if page.name == "first-resource.md":
            continue  # test_first_resource.py follows it
        text = page.read_text(encoding="utf-8")
        for block in blocks(text):
            if block.language == "python":
                assert block.path, f"{page.name}: name the file of\n{block.text}"
                apply(block, service.folder)
                written.append(block.path)

    assert "src/count_users.py" in written
    service.run("ruff", "check", "--no-cache")
    service.run("ruff", "format", "--check", "--no-cache")
    service.run("mypy")
    tests = [path for path in written if path.startswith("tests/")]
    assert f"{len(tests)} passed" in service.run("pytest", "-q", *tests).stdout


TEST_GREETING = """
from src.settings import settings


def test_greets() -> None:
    assert settings.greeting == "Hi"
"""


def test_teams_first_setting_passes(make_service: MakeService) -> None:
    """Also before it is documented; what is documented has to be true."""
    service = make_service("sqlite", answers={"accounts": False})
    settings, example = service.folder / "src/settings.py", service.folder / ".env.example"
    page = service.folder / "docs/configuration.md"
    suite = ("pytest", "-q", "-p", "no:cacheprovider", "tests/test_settings.py")
    field = '    greeting: str = Field(default="Hello", description="How to greet")\n'
    assert field.strip() in page.read_text(encoding="utf-8")
    source = settings.read_text(encoding="utf-8")
    end = source.index("\n    @property")

    settings.write_text(source[:end] + field + source[end:], encoding="utf-8")
    url = '    "DATABASE_URL": URL,\n'
    service.edit("tests/__init__.py", url, f'{url}    "GREETING": "Hi",\n')
    (service.folder / "tests" / "test_greeting.py").write_text(TEST_GREETING)
    service.run(*suite, "tests/test_greeting.py", GREETING="Good morning")
    text = example.read_text(encoding="utf-8")
    example.write_text(f"{text}# GREETING=Good morning\n", encoding="utf-8")
    service.run(*suite)

    example.write_text(f"{text.replace('# PORT=8000', '# PORT=80')}GREETNG=\n", encoding="utf-8")
    failures = service.run(*suite, status=1).stdout
    assert ".env.example: write # PORT=8000" in failures
    example.write_text(f"{text}GREETNG=\n", encoding="utf-8")
    failures = service.run(*suite, status=1).stdout
    assert "Add `greetng` to Settings in src/settings.py, or remove the line" in failures
    example.write_text(text, encoding="utf-8")
    rows = page.read_text(encoding="utf-8")
    page.write_text(rows.replace("| `8000` |", "| `80` |"), encoding="utf-8")
    failures = service.run(*suite, status=1).stdout
    assert "docs/configuration.md: the line of PORT: write `8000` as its default" in failures
    page.write_text(rows.replace("| `PORT` |", "| `PROT` |"), encoding="utf-8")
    failures = service.run(*suite, status=1).stdout
    assert "docs/configuration.md: the line of PROT: remove it" in failures


def test_benchmark_of_migrations_runs() -> None:
    """In a short form that proves only that it works."""
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.migrations", "--engine", "sqlite", "--rounds", "1"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    assert re.search(
        r"^sqlite +[\d.]+ms +[\d.]+ms +[\d.]+s +[\d.]+s +[\d.]+$", process.stdout, re.MULTILINE
    )
