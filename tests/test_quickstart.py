"""`quickstart.py` leads from a clone to a running service, on a machine with git and Python alone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

import quickstart
from tools.render import REPOSITORY, git, render, update

from .support.databases import new_database
from .support.documentation import answers, commands, serving
from .support.network import wait_for
from .support.services import bare_environment, free_port

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


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


@pytest.mark.python
def test_first_command_works_on_a_new_machine(
    template: Path, tmp_path: Path, fresh: dict[str, str]
) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(template), str(clone))
    port = free_port()
    command = f"{commands(README)[0]} --port {port}"
    url = f"http://127.0.0.1:{port}"
    service = tmp_path / "my-service"

    with serving(command, clone, fresh, url) as output:
        said = output.rpartition("\n\n")[0].splitlines()  # without the service's logs
        steps = [line[:5] for line in said if line.startswith("[")]
        assert steps == ["[1/5]", "[2/5]", "[3/5]", "[4/5]", "[5/5]"]
        assert max(map(len, said)) <= 80
        assert f"Starting on {url}" in output
        create_admin = next(line for line in said if "create-admin" in line)
        subprocess.run(
            ["/bin/sh", "-c", f"echo 'correct horse' | {create_admin}"],
            cwd=service,
            env=fresh,
            check=True,
        )
        login = {"username": "boss", "password": "correct horse"}
        assert httpx2.post(f"{url}/auth/token", data=login).status_code == 200
        assert httpx2.get(f"{url}/docs").status_code == 200
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
        assert max(map(len, taken.stderr.splitlines())) <= 80

    with serving(command, clone, fresh, url) as output:
        assert "[2/5] Reuse the service in my-service" in output
        assert "[5/5] The service is in git already: commit what you changed" in output
    assert (service / "db.sqlite3").is_file()

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

    assert git(service, "status", "--porcelain") == ""
    assert git(service, "log", "--format=%s") == "Start from copier-fastapi-tortoise\n"
    file = clone / "template" / ".gitignore.jinja"
    file.write_text("/new\n" + file.read_text(encoding="utf-8"), encoding="utf-8")
    git(clone, "commit", "--all", "--quiet", "--message", "Fix")
    update(service)
    assert git(service, "diff", "--name-only").split() == [".copier-answers.yml", ".gitignore"]


def test_two_runs_in_one_clone_wait_for_each_other(
    template: Path, tmp_path: Path, fresh: dict[str, str]
) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(template), str(clone))
    ports = [free_port(), free_port()]
    runs = [
        subprocess.Popen(
            ["python3", "quickstart.py", f"../service-{port}", "--port", str(port)],
            cwd=clone,
            env=fresh,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for port in ports
    ]
    urls = [f"http://127.0.0.1:{port}/readyz" for port in ports]
    try:
        wait_for(lambda: any(map(answers, urls)))  # installing takes a while, for each
        wait_for(lambda: all(map(answers, urls)))
    finally:
        for run in runs:
            run.terminate()
        outputs = [run.communicate(timeout=60)[0] for run in runs]

    assert [run.returncode for run in runs] == [0, 0]
    assert sorted("Waiting for the other" in output for output in outputs) == [False, True]


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
    assert process.stdout == ""  # before it installs anything
    assert "Choose another folder" in process.stderr
    assert "mine" in (target if content == "file" else target / "mine.txt").read_text()


@pytest.mark.parametrize("place", ["file/service", "loop"])
def test_quickstart_refuses_a_folder_that_it_cannot_create(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to("/dev/null/none")

    process = subprocess.run(
        [
            sys.executable,
            REPOSITORY / "quickstart.py",
            tmp_path / place,
            "--port",
            str(free_port()),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 1
    assert process.stdout == ""  # before it installs anything
    assert "Choose another folder" in process.stderr
    assert "Traceback" not in process.stderr


def test_a_long_step_shows_in_a_terminal_that_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.openpty()
    with open(reader, "rb", buffering=0) as terminal, open(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        with quickstart.show_progress(seconds=0.01):
            shown = terminal.read(7)

    assert shown == b"      ."


def test_a_long_step_prints_no_dots_into_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with quickstart.show_progress(seconds=0):
        pass

    assert capsys.readouterr().out == ""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new service, and a machine where git guesses no name."""
    configuration = tmp_path / "gitconfig"
    configuration.write_text("[user]\n\tuseConfigOnly = true\n[commit]\n\tgpgSign = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(configuration))
    folder = tmp_path / "team" / "service"
    folder.mkdir(parents=True)
    (folder / "main.py").write_text("")
    return folder


def author(folder: Path) -> str:
    return git(folder, "log", "--format=%an <%ae>").strip()


def test_commits_without_a_name_in_git(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quickstart.commit(folder)

    assert author(folder) == "quickstart <quickstart@localhost>"
    assert "user.name and user.email are not set" in capsys.readouterr().out
    assert git(folder, "status", "--porcelain") == ""


def test_commits_as_the_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{variable}_NAME", "Ada")
        monkeypatch.setenv(f"{variable}_EMAIL", "ada@example.com")

    quickstart.commit(folder)

    assert author(folder) == "Ada <ada@example.com>"


def test_leaves_the_repository_around_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(folder.parent, "init", "--quiet")

    quickstart.commit(folder)

    assert f"it is inside the repository {folder.parent}" in capsys.readouterr().out
    assert not (folder / ".git").exists()
    assert git(folder.parent, "status", "--porcelain") == "?? service/\n"


def test_commits_in_an_ignored_folder(folder: Path) -> None:
    """Such as build/ of the template's clone."""
    git(folder.parent, "init", "--quiet")
    (folder.parent / ".gitignore").write_text("/service/\n")

    quickstart.commit(folder)

    assert git(folder, "rev-parse", "--show-toplevel").strip() == str(folder)
    assert author(folder)


def test_keeps_commits(folder: Path) -> None:
    quickstart.commit(folder)
    (folder / "main.py").write_text("mine = 1\n")

    quickstart.commit(folder)

    assert git(folder, "rev-list", "--count", "HEAD") == "1\n"
    assert git(folder, "status", "--porcelain") == " M main.py\n"
