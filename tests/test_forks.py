"""A fork of a process with the libraries does what a new process does."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from .support.forks import ForkServer, run_in_fork
from .support.network import wait_for
from .support.services import DEADLINE, bare_environment

PROGRAMS = {
    "output": "import sys; print('é', sys.argv, sys.path[0]); print('no', file=sys.stderr)",
    "much output": "import sys; print('x' * 1_000_000); print('y' * 1_000_000, file=sys.stderr)",
    "input": "import sys; print(input(), sys.stdin.read(), sys.stdin.isatty())",
    "status": "raise SystemExit(7)",
    "reason": "raise SystemExit('wrong')",
    "exception": "print(1)\nraise KeyError('x')",
    "sudden end": "import os; os._exit(9)",
    "signal": "import os; os.kill(os.getpid(), 15)",
    "end": "import atexit; atexit.register(print, 'end')",
    "thread": "import threading; threading.Timer(0.1, print, ['later']).start()",
    "folders": "import os, tempfile; print(os.getcwd(), tempfile.gettempdir())",
    "variables": "import os; print(sorted(os.environ.items()))",
    "full disk": "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (0, 0)); print('printed')",
    "names": "x = 1\nprint(__name__, globals()['x'])\nimport __main__; print(__main__.x)",
    "child": "import subprocess; print(flush=True); subprocess.run(['echo', 'child'])",
}


@pytest.fixture(scope="module")
def server() -> ForkServer:
    return ForkServer(Path(sys.executable), ["json", "tempfile"], bare_environment())


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "tmp").mkdir()
    return {**bare_environment(), "TMPDIR": str(tmp_path / "tmp"), "OURS": "1"}


@pytest.mark.parametrize("name", PROGRAMS)
def test_fork_does_what_a_process_does(
    name: str, server: ForkServer, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(PROGRAMS[name], encoding="utf-8")
    arguments = ("-m", "program", "--option")
    process = subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path,
        env=environment,
        input="one\ntwo\n",
        capture_output=True,
        text=True,
        check=False,
    )

    fork = run_in_fork(server, arguments, tmp_path, environment, "one\ntwo\n", DEADLINE)

    assert fork
    assert (fork.returncode, fork.stdout) == (process.returncode, process.stdout)
    assert fork.stderr.splitlines()[-1:] == process.stderr.splitlines()[-1:]


def test_module_is_run_as_by_the_interpreter(
    server: ForkServer, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "__main__.py").write_text("import sys; print(__package__, sys.argv[1:])")
    for text in ("X = 1", "X = 22"):  # modules are read again for each fork
        (tmp_path / "ours" / "__init__.py").write_text(f"{text}\nprint(X, __file__)")
        process = subprocess.run(
            [sys.executable, "-m", "ours", "a"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )

        fork = run_in_fork(server, ("-m", "ours", "a"), tmp_path, environment, "", DEADLINE)

        assert fork
        assert fork.stdout == process.stdout != ""


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (("-W", "error", "-m", "this"), {}),
        (("-c", "print(1)"), {}),
        (("-m", "this"), {"PYTHONIOENCODING": "latin-1"}),
        (("-m", "this"), {"LC_ALL": "C"}),
    ],
)
def test_what_decides_the_start_needs_a_process(
    arguments: tuple[str, ...],
    variables: dict[str, str],
    server: ForkServer,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    assert not run_in_fork(server, arguments, tmp_path, {**environment, **variables}, "", DEADLINE)


def test_fork_that_does_not_end_is_killed(environment: dict[str, str], tmp_path: Path) -> None:
    server = ForkServer(Path(sys.executable), [], bare_environment())
    started = tmp_path / "started"
    (tmp_path / "program.py").write_text(
        "import os, pathlib, time\n"
        "pathlib.Path('started').write_text(str(os.getpid()))\n"
        "time.sleep(60)\n"
    )

    with pytest.raises(subprocess.TimeoutExpired):
        run_in_fork(server, ("-m", "program"), tmp_path, environment, "", 1)

    fork = int(started.read_text())
    wait_for(lambda: not psutil.pid_exists(fork) or psutil.Process(fork).status() == "zombie")
    assert server.process.wait(DEADLINE) == -signal.SIGKILL
