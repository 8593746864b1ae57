"""Start the newest or the installed database servers on Debian, and run a command with them.

    python -m tools.servers mysql postgresql -- uv run pytest -m server

The servers come from Debian's `sid`. They are installed into root file systems in the cache folder,
so the system of this machine does not change. `--installed` starts the servers that this machine
has instead. Each server gets a free port, and its data stays in memory, which makes tests faster.
`TEST_MYSQL_URL`, `TEST_POSTGRES_URL` and `TEST_REDIS_URL` pass the URLs to the command.
"""

import argparse
import fcntl
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
ROOTS = CACHE / "copier-fastapi-tortoise" / "sid"
DEADLINE = 60.0  # seconds
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"

# MySQL's and MariaDB's packages exclude each other
PACKAGES = {
    "mysql": "mysql-server-core postgresql-18 redis-server python3.14-venv git",
    "mariadb": "mariadb-server",
}
INSTALL = """
echo 'exit 101' >usr/sbin/policy-rc.d
chmod +x usr/sbin/policy-rc.d
mount -t proc proc proc
export DEBIAN_FRONTEND=noninteractive
chroot . apt-get update -qq
chroot . apt-get install -qq --yes --no-install-recommends $packages
chroot . apt-get clean
"""

# Folders that a command in a root shares with this machine: apt's settings and the user's files
SHARED = ("etc/hosts", "etc/resolv.conf", "etc/ssl/certs", "etc/pip.conf", "etc/uv", "opt", "tmp")
ENTER = """
for path in $shared; do
  if [ -d "/$path" ]; then
    mkdir -p "$path"
  elif [ -e "/$path" ]; then
    touch "$path"
  else
    continue
  fi
  mount --rbind "/$path" "$path"
done
mount --rbind /dev dev
mount -t proc proc proc
exec chroot --userspec="$user" . env --chdir="$folder" "$@"
"""

# The data is in memory, and is deleted with the namespace. The server stops when its standard input
# ends, which also happens when the process that started it is killed.
SERVE = """
mount -t proc proc proc
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs dev/shm
chroot --userspec=nobody:nogroup . sh -euc "$start" >&2 </dev/null &
cat >/dev/null
"""


@dataclass(frozen=True)
class Server:
    """A kind of server.

    Attributes:
        root: its root file system.
        variable: the environment variable for its URL.
        url: its URL on a port.
        start: the shell commands that start it.
    """

    root: str
    variable: str
    url: str
    start: str


USER = """
echo "CREATE USER ci@'127.0.0.1' IDENTIFIED BY 'ci';" >/tmp/init.sql
echo "GRANT ALL ON *.* TO ci@'127.0.0.1' WITH GRANT OPTION;" >>/tmp/init.sql
"""
SERVERS = {
    "mysql": Server(
        "mysql",
        "TEST_MYSQL_URL",
        "mysql://ci:ci@127.0.0.1:{port}/mysql",
        USER
        + """
mysqld --no-defaults --initialize-insecure --datadir=/tmp/data
exec mysqld --no-defaults --datadir=/tmp/data --socket=/tmp/socket --init-file=/tmp/init.sql \
  --bind-address=127.0.0.1 --port={port} --mysqlx=OFF --secure-file-priv=NULL --skip-name-resolve \
  --disable-log-bin --innodb-flush-log-at-trx-commit=2
""",
    ),
    "mariadb": Server(
        "mariadb",
        "TEST_MYSQL_URL",
        "mysql://ci:ci@127.0.0.1:{port}/mysql",
        USER
        + """
echo "DROP USER IF EXISTS ''@localhost;" >>/tmp/init.sql
mariadb-install-db --no-defaults --datadir=/tmp/data --tmpdir=/tmp --skip-test-db >/dev/null
exec mariadbd --no-defaults --datadir=/tmp/data --socket=/tmp/socket --init-file=/tmp/init.sql \
  --bind-address=127.0.0.1 --port={port} --tmpdir=/tmp --pid-file=/tmp/pid --skip-name-resolve \
  --innodb-flush-log-at-trx-commit=2
""",
    ),
    "postgresql": Server(
        "mysql",
        "TEST_POSTGRES_URL",
        "postgresql://postgres@127.0.0.1:{port}/postgres",
        """
cd "$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)"
./initdb --pgdata=/tmp/data --username=postgres --auth=trust --no-sync >/dev/null
exec ./postgres -D /tmp/data -p {port} -c listen_addresses=127.0.0.1 \
  -c unix_socket_directories= -c fsync=off
""",
    ),
    "redis": Server(
        "mysql",
        "TEST_REDIS_URL",
        "redis://127.0.0.1:{port}/0",
        "exec redis-server --bind 127.0.0.1 --port {port} --save '' --appendonly no --dir /tmp",
    ),
}


class UnavailableError(Exception):
    """The servers cannot be installed or started on this machine."""


def _as_root(*command: str, **variables: str) -> list[str]:
    settings = [f"{name}={value}" for name, value in variables.items()]
    return [*([] if os.geteuid() == 0 else ["sudo"]), "env", *settings, *command]


def _in_root(root: Path, script: str, *arguments: str, **variables: str) -> list[str]:
    """Return the command that runs a script in a root's folder, in a separate namespace."""
    namespace = ["unshare", "--mount", "--pid", "--fork", "--kill-child", f"--wd={root}"]
    return _as_root(*namespace, "sh", "-euc", script, "sh", *arguments, **variables)


def _check_tools(*names: str) -> None:
    needed = ["unshare", *names, *([] if os.geteuid() == 0 else ["sudo"])]
    missing = [name for name in needed if not shutil.which(name, path=PATH)]
    if missing:
        raise UnavailableError(f"install {' and '.join(missing)}")


def _mirror() -> str:
    """Find the package mirror of this machine.

    Raises:
        UnavailableError: there is no mirror, or it does not respond.
    """
    targets = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"]
    found = subprocess.run(
        [*targets, "Origin: Debian"], check=True, text=True, stdout=subprocess.PIPE
    ).stdout.split()
    if not found:
        raise UnavailableError("run `apt-get update` on Debian: the servers come from its mirror")
    try:
        urllib.request.urlopen(f"{found[0]}/dists/sid/InRelease", timeout=20).close()
    except (OSError, urllib.error.URLError) as error:
        raise UnavailableError(f"the Debian mirror cannot be reached ({error})") from error
    return found[0]


def _apt_settings() -> str:
    """Return apt's settings to reach a mirror, such as a proxy."""
    settings = subprocess.run(
        ["apt-config", "dump"], check=True, text=True, stdout=subprocess.PIPE
    ).stdout.splitlines()
    kept = ("Acquire::http", "Acquire::Check-")
    return "".join(f"{line}\n" for line in settings if line.startswith(kept))


def prepare(name: str) -> Path:
    """Install a root, unless it is cached.

    Raises:
        UnavailableError: this machine cannot install it.
    """
    _check_tools("apt-get", "debootstrap")
    root = ROOTS / name
    ROOTS.mkdir(parents=True, exist_ok=True)
    with (ROOTS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            _install(root, PACKAGES[name], _mirror())
    return root


def _install(root: Path, packages: str, mirror: str) -> None:
    print(f"Installing {packages} into {root}", file=sys.stderr)
    part = root.with_suffix(".part")
    settings = ROOTS / "apt.conf"
    settings.write_text(_apt_settings())
    bootstrap = ["--variant=minbase", "--include=ca-certificates", "sid", str(part), mirror]
    bundle = "etc/ssl/certs/ca-certificates.crt"
    for command in (
        ["rm", "-rf", "--one-file-system", str(part)],
        ["debootstrap", *bootstrap],
        ["cp", str(settings), f"{part}/etc/apt/apt.conf.d/99host"],
        ["cp", "--dereference", "/etc/resolv.conf", "/etc/hosts", f"{part}/etc"],
        *([["cp", f"/{bundle}", f"{part}/{bundle}"]] if Path(f"/{bundle}").exists() else []),
    ):
        _run(_as_root(*command))
    _run(_in_root(part, INSTALL, packages=packages))
    _run(_as_root("mv", str(part), str(root)))


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)}\nfailed:\n{done.stdout[-4000:]}")


@contextmanager
def serve(name: str, *, installed: bool = False) -> Iterator[tuple[str, str]]:
    """Start a server, and stop it afterwards.

    Args:
        name: the kind of server.
        installed: whether to start the one that this machine has, not the newest.

    Yields:
        The environment variable for its URL, and the URL.

    Raises:
        UnavailableError: this machine cannot start it.
    """
    server = SERVERS[name]
    if installed:
        _check_tools()
        ROOTS.mkdir(parents=True, exist_ok=True)
    root = Path("/") if installed else prepare(server.root)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    log = ROOTS / f"{name}-{port}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            _in_root(root, SERVE, start=server.start.format(port=port), PATH=PATH),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for the command
        )
    try:
        _await(process, port, log)
        yield server.variable, server.url.format(port=port)
    finally:
        assert process.stdin
        process.stdin.close()
        process.wait(DEADLINE)
        log.unlink()


def _await(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + DEADLINE
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit(f"The server did not start:\n{log.read_text(errors='replace')[-4000:]}")


def inside(command: list[str], environment: Mapping[str, str]) -> list[str]:
    """Wrap a command to run in the root with the newest Python."""
    history = subprocess.run(  # the history of a worktree is in another folder
        ["git", "rev-parse", "--path-format=absolute", "--git-common-dir"],
        cwd=REPOSITORY,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    ).stdout.strip()
    folders = [str(Path.home()), str(Path.cwd()), str(REPOSITORY), history]
    shared = [*SHARED, *(folder.lstrip("/") for folder in dict.fromkeys(folders))]
    variables = {**environment, "PATH": "/usr/local/bin:/usr/bin:/usr/sbin:/bin"}
    return _in_root(
        prepare("mysql"),
        ENTER,
        *command,
        **variables,
        shared=" ".join(shared),
        user=f"{os.getuid()}:{os.getgid()}",
        folder=str(Path.cwd()),
    )


def main() -> None:
    """Start the servers, run the command, and exit with its status."""
    parser = argparse.ArgumentParser(prog="python -m tools.servers", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("servers", nargs="*", choices=[*SERVERS, []], metavar="SERVER")
    parser.add_argument(
        "--inside", action="store_true", help="run the command in the same root, on Python 3.14"
    )
    parser.add_argument(
        "--installed", action="store_true", help="start the servers that this machine has"
    )
    options = sys.argv[1:]
    end = options.index("--") if "--" in options else len(options)
    arguments = parser.parse_args(options[:end])
    command = options[end + 1 :]
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background jobs ignore the first
        signal.signal(number, signal.default_int_handler)
    with ExitStack() as stack:
        try:
            variables = dict(
                stack.enter_context(serve(name, installed=arguments.installed))
                for name in arguments.servers
            )
            newest = [] if arguments.installed else arguments.servers
            newest = [*newest, *(["python", "sqlite"] if arguments.inside else [])]
            environment = {**os.environ, **variables, "TEST_NEWEST": " ".join(newest)}
            if arguments.inside:
                command = inside(command, environment)
        except UnavailableError as error:
            print(f"No servers: {error}", file=sys.stderr)
            must_run = arguments.installed or os.environ.get("CI")
            raise SystemExit(1 if must_run else 0) from None
        if command:
            raise SystemExit(subprocess.run(command, env=environment, check=False).returncode)
        for name, url in variables.items():
            print(f"export {name}={url}", flush=True)
        print("Stop them with Ctrl-C.", file=sys.stderr)
        try:
            while True:
                time.sleep(DEADLINE)
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
