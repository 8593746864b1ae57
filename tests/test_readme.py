"""The commands of the documents work as pasted, and what the documents say is true."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tools.render import REPOSITORY, git, render
from tools.tables import INCLUDED, included, with_table

from .support.databases import SERVERS, new_database
from .support.network import wait_for
from .support.services import ENVIRONMENTS, bare_environment, free_port

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def commands(text: str) -> list[str]:
    """List the command lines of a document's console blocks."""
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [
        line[2:].partition("  #")[0].strip()
        for block in blocks
        for line in block.splitlines()
        if line.startswith("$ ")
    ]


@pytest.fixture
def fresh(tmp_path: Path) -> dict[str, str]:
    """The environment of a new machine: an empty home, git and Python, nothing installed."""
    home, path = tmp_path / "home", tmp_path / "bin"
    home.mkdir()
    path.mkdir()
    for tool in ("git", "basename", "dirname", "sed", "uname"):  # git's scripts call the others
        (path / tool).symlink_to(str(shutil.which(tool)))
    (path / "python3").symlink_to(Path(sys.executable).resolve())
    cache = subprocess.run(
        [sys.executable, "-m", "uv", "cache", "dir"], check=True, capture_output=True, text=True
    ).stdout.strip()
    # packages may come from a cache, so that the test does not wait for the network
    return {**bare_environment(), "HOME": str(home), "PATH": str(path), "UV_CACHE_DIR": cache}


def answers(url: str) -> bool:
    try:
        return httpx2.get(url).status_code == 200
    except httpx2.TransportError:
        return False


@contextmanager
def serving(command: str, folder: Path, environment: dict[str, str], url: str) -> Iterator[str]:
    """Run a command until the URL answers; afterwards interrupt it as Ctrl-C does.

    Yields:
        What the command has printed so far.
    """
    log = folder.parent / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_for(lambda: process.poll() is not None or answers(url))
            assert process.poll() is None, log.read_text(encoding="utf-8")
            yield log.read_text(encoding="utf-8")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            process.wait(60)


@pytest.mark.python
def test_first_command_works_on_a_new_machine(
    template: Path, tmp_path: Path, fresh: dict[str, str]
) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(template), str(clone))
    port = free_port()
    command = f"{commands(README)[0]} --port {port}"
    url = f"http://127.0.0.1:{port}"

    with serving(command, clone, fresh, url) as output:
        assert f"Serving on {url}" in output
        assert httpx2.get(url).json() == {"message": "Hello from My Service!"}
        assert httpx2.get(f"{url}/readyz").json() == {"status": "ready"}
        taken = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=clone,
            env=fresh,
            capture_output=True,
            text=True,
            check=False,
        )
        assert taken.returncode != 0
        assert f"127.0.0.1:{port} is in use" in taken.stderr

    with serving(command, clone, fresh, url) as output:
        assert "already holds a rendered service" in output
    assert (tmp_path / "my-service" / "db.sqlite3").is_file()

    process = subprocess.Popen(
        ["python3", "quickstart.py", "../my-service", "--port", str(port)],
        cwd=clone,
        env=fresh,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: process.poll() is not None or answers(url))
    process.terminate()
    assert process.wait(60) == 0
    assert not answers(url), "the service outlived the command that started it"
    assert git(clone, "status", "--porcelain") == ""


@pytest.mark.python
@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_quickstart_serves_a_service_on_a_server(
    engine: str, template: Path, tmp_path: Path, fresh: dict[str, str]
) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(template), str(clone))
    render(template, tmp_path / "service", {"database": engine})
    port = free_port()
    command = f"python3 quickstart.py ../service --port {port}"
    with new_database(engine, tmp_path) as database:
        environment = {**fresh, "DATABASE_URL": database.url}
        with serving(command, clone, environment, f"http://127.0.0.1:{port}/readyz"):
            assert "users" in database.tables()


@pytest.mark.parametrize("content", ["file", "folder"])
def test_quickstart_leaves_other_folders_alone(content: str, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    if content == "file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "mine.txt").write_text("mine")

    process = subprocess.run(
        [sys.executable, REPOSITORY / "quickstart.py", target, "--port", str(free_port())],
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 1
    assert "choose another one" in process.stderr
    assert "mine" in (target if content == "file" else target / "mine.txt").read_text()


def test_ci_runs_the_test_command() -> None:
    lines = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8").splitlines()

    assert commands(README)[1] in lines


def test_tables_are_current() -> None:
    assert with_table(README) == README, "run: python -m tools.tables"
    assert included() == INCLUDED.read_text(encoding="utf-8"), "run: python -m tools.tables"


def test_everyday_commands(template: Path, tmp_path: Path) -> None:
    """Copy as the README says, at a release, and update to a later one."""
    copy, update = commands(README)[2:]
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


def test_service_readme_commands(engine: str, template: Path, tmp_path: Path) -> None:
    """Follow the service's README from the top, as its new owner."""
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
        "PORT": str(port),
        "UVICORN_PORT": str(port),  # of uvicorn's own command
        "PRE_COMMIT_HOME": str(tmp_path / "hooks"),
    }
    seen = []
    with new_database(engine, tmp_path) as database:
        lines = commands((folder / "README.md").read_text(encoding="utf-8"))
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
            elif line.startswith(CURL):
                continue  # done while it was served
            elif "create_admin" in line:
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
    assert {"uv sync", "uv run pytest", "uvx copier update --defaults"} <= set(seen)
    assert (folder / ".git" / "hooks" / "pre-commit").is_file()
    assert git(folder, "diff", "--name-only") == ""


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
