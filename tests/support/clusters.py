"""Servers that belong to one test: databases, Redis, a connection pool and proxies."""

import getpass
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from .certificates import make_certificate
from .databases import REQUIRED
from .network import wait_for
from .services import DEADLINE, free_port


def find(command: str) -> str:
    """Find a command that only administrators have in their path, or skip the test.

    With REQUIRE_ENGINES set, a command that is not installed is a failure.
    """
    debian = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{command}"))
    found = shutil.which(command) or shutil.which(command, path="/usr/sbin") or (debian or [""])[-1]
    if not found:
        (pytest.fail if REQUIRED else pytest.skip)(f"{command} is not installed")
    return found


@dataclass
class PostgreSQL:
    """A server that belongs to one test, which may restart and crash it.

    Attributes:
        url: its administrative database.
    """

    url: str
    _folder: Path
    _user: str | None

    def run(self, command: str, *arguments: str) -> None:
        subprocess.run(
            [find(command), "--pgdata", self._folder, *arguments],
            user=self._user,
            cwd=self._folder.parent,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=DEADLINE,
        )

    def encrypt(self) -> Path:
        """Take TLS connections from now on.

        Returns:
            The server's certificate, which is its own authority.
        """
        certificate, key = make_certificate(self._folder)
        if self._user:
            shutil.chown(key, self._user)
        key.chmod(0o600)
        with (self._folder / "postgresql.conf").open("a") as configuration:
            configuration.write("ssl = on\n")
        self.restart()
        return certificate

    def stand_by(self) -> None:
        """Become a standby, which takes no writes, until it is promoted."""
        (self._folder / "standby.signal").touch()
        self.restart()

    def promote(self) -> None:
        """Take writes again, as a standby does that takes over."""
        self.run("pg_ctl", "promote", "--wait")

    def restart(self) -> None:
        """Restart it as administrators do: every connection is cut, no transaction waited for."""
        self.run("pg_ctl", "restart", "--wait", "--mode=fast")

    def crash(self) -> None:
        """End as in a crash, without a shutdown, and start again, which recovers from the log."""
        self.run("pg_ctl", "restart", "--wait", "--mode=immediate")


@contextmanager
def own_postgresql() -> Iterator[PostgreSQL]:
    """Start a new PostgreSQL server on a free port; stop and delete it afterwards."""
    find("initdb")
    user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to be root
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="postgresql") as name:
        if user:
            shutil.chown(name, user)
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        server = PostgreSQL(url, Path(name) / "data", user)
        server.run("initdb", "--username=postgres", "--auth=trust", "--no-sync")
        log = str(Path(name) / "log")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={name}"
        server.run("pg_ctl", "start", "--wait", f"--log={log}", f"--options={options}")
        try:
            yield server
        finally:
            server.run("pg_ctl", "stop", "--wait", "--mode=immediate")


@dataclass
class MariaDB:
    """A server that belongs to one test.

    Attributes:
        url: its administrative database, as root, who has no password.
        socket: where local clients reach it.
        command: what runs it, without how it listens.
    """

    url: str
    socket: Path
    command: str
    _process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        port = urlsplit(self.url).port or 0
        listen = ["--bind-address=127.0.0.1", f"--port={port}", f"--socket={self.socket}"]
        self._process = process = subprocess.Popen([*self.command.split(), *listen])
        wait_for(lambda: process.poll() is not None or listens(port))
        assert process.poll() is None

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(DEADLINE)

    def crash(self) -> None:
        """Kill the server, and start it again, which recovers from the log."""
        if self._process:
            self._process.kill()
            self._process.wait(DEADLINE)
        self.start()


@contextmanager
def own_mariadb() -> Iterator[MariaDB]:
    """Start a new MariaDB server, which takes TLS, on a free port; stop and delete it afterwards."""
    daemon, install = find("mariadbd"), find("mariadb-install-db")
    user = "mysql" if os.geteuid() == 0 else getpass.getuser()  # MariaDB refuses to be root
    with tempfile.TemporaryDirectory(prefix="mariadb") as name:
        if os.geteuid() == 0:
            shutil.chown(name, user)
        data = Path(name) / "data"
        # A server deletes the temporary tables that it finds there, also those of another server
        options = ["--no-defaults", f"--user={user}", f"--datadir={data}", f"--tmpdir={name}"]
        login = "--auth-root-authentication-method=normal"
        done = subprocess.run(
            [install, *options, login, "--skip-test-db"], capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        certificate, key = make_certificate(Path(name))
        if os.geteuid() == 0:
            shutil.chown(key, user)
        tls = [f"--ssl-cert={certificate}", f"--ssl-key={key}"]
        quiet = [f"--log-error={name}/log", "--innodb-fast-shutdown=2"]
        server = MariaDB(
            f"mysql://root@127.0.0.1:{free_port()}/mysql",
            Path(name) / "socket",
            " ".join([daemon, *options, *tls, *quiet]),
        )
        try:
            server.start()
            yield server
        finally:
            server.stop()


@dataclass
class RedisServer:
    """A Redis server that belongs to one test.

    Attributes:
        port: where it listens on this machine.
    """

    port: int
    _command: list[str]
    _folder: Path
    _process: "subprocess.Popen[bytes] | None" = None
    _certificate: Path | None = None

    @property
    def url(self) -> str:
        return f"{'rediss' if self._certificate else 'redis'}://127.0.0.1:{self.port}/0"

    def encrypt(self) -> Path:
        """Take only TLS connections from now on.

        Returns:
            The server's certificate, which is its own authority.
        """
        self._certificate, key = make_certificate(self._folder.parent)
        files = ["--tls-cert-file", str(self._certificate), "--tls-key-file", str(key)]
        self._command += [*files, "--tls-ca-cert-file", str(self._certificate)]
        self._command += ["--tls-auth-clients", "no"]
        self.kill()
        self.start()
        return self._certificate

    def start(self) -> None:
        port = str(self.port)
        listen = ["--port", "0", "--tls-port", port] if self._certificate else ["--port", port]
        options = [*listen, "--bind", "127.0.0.1", "--dir", str(self._folder)]
        self._process = process = subprocess.Popen(
            [*self._command, *options], stdout=subprocess.DEVNULL
        )
        wait_for(lambda: process.poll() is not None or listens(self.port))
        assert process.poll() is None

    def kill(self, *, lose_data: bool = False) -> None:
        """Kill the server; with `lose_data`, as if its disk were gone as well."""
        if self._process:
            self._process.kill()
            self._process.wait(DEADLINE)
        if lose_data:
            shutil.rmtree(self._folder)
            self._folder.mkdir()


@contextmanager
def own_redis(command: list[str]) -> Iterator[RedisServer]:
    """Start a new Redis server on a free port; kill it and delete its data afterwards.

    Args:
        command: `redis-server` and the options that it has in production.
    """
    with tempfile.TemporaryDirectory(prefix="redis") as name:
        folder = Path(name) / "data"
        folder.mkdir()
        server = RedisServer(free_port(), [find(command[0]), *command[1:]], folder)
        try:
            server.start()
            yield server
        finally:
            server.kill()


@dataclass
class Balancer:
    """HAProxy before replicas, of which only the ready ones get requests.

    Attributes:
        url: where it answers.
    """

    url: str
    _socket: Path

    def drain(self, replica: int) -> None:
        """Send a replica nothing new, as Kubernetes does before it stops a pod."""
        self._tell(f"set server replicas/{replica} state drain")

    def admit(self, replica: int) -> None:
        """Send a replica requests again."""
        self._tell(f"set server replicas/{replica} state ready")

    def ready(self) -> int:
        """Count the replicas that get requests."""
        # the statistics' columns 17 and 1: the state, and the name
        rows = [line.split(",") for line in self._tell("show stat").splitlines()]
        return sum(row[1].isdigit() and row[17] == "UP" for row in rows if len(row) > 17)

    def _tell(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._socket))
            connection.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


@contextmanager
def balancer(ports: list[int]) -> Iterator[Balancer]:
    """Balance over the replicas on these ports of this machine, named by their place from 0."""
    haproxy = find("haproxy")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="haproxy") as name:
        file = Path(name) / "haproxy.cfg"
        admin = Path(name) / "admin.sock"
        servers = "\n".join(
            f"    server {replica} 127.0.0.1:{port} check inter 200ms fall 1 rise 1"
            for replica, port in enumerate(ports)
        )
        file.write_text(
            f"""\
global
    stats socket {admin} level admin
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout check 5s
    option redispatch
frontend service
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    balance roundrobin
    option httpchk GET /readyz
{servers}
"""
        )
        process = subprocess.Popen([haproxy, "-db", "-q", "-f", file])
        try:
            found = Balancer(f"http://127.0.0.1:{port}", admin)
            wait_for(admin.exists)
            wait_for(lambda: found.ready() == len(ports))
            yield found
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(DEADLINE)


def pgbouncer_prepares() -> bool:
    """Return whether PgBouncer supports prepared statements in transaction mode."""
    version = subprocess.run(
        [find("pgbouncer"), "--version"], capture_output=True, text=True, check=True
    ).stdout
    return tuple(map(int, re.findall(r"\d+", version)[:2])) >= (1, 21)


@contextmanager
def pgbouncer(url: str, connections: int = 2) -> Iterator[str]:
    """Start PgBouncer in transaction mode, in front of a PostgreSQL database.

    Args:
        url: the database's.
        connections: how many PgBouncer opens to the database.

    Yields:
        The database's URL at PgBouncer.
    """
    command = find("pgbouncer")
    parts = urlsplit(url)
    port = free_port()
    user = "nobody" if os.geteuid() == 0 else None  # PgBouncer refuses to be root
    with tempfile.TemporaryDirectory(prefix="pgbouncer") as name:
        users = Path(name) / "users.txt"
        users.write_text(f'"{parts.username}" "{unquote(parts.password or "")}"\n')
        file = Path(name) / "pgbouncer.ini"
        file.write_text(
            f"""\
[databases]
* = host={parts.hostname} port={parts.port or 5432}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = {connections}
{"max_prepared_statements = 200" if pgbouncer_prepares() else ""}
"""
        )
        if user:
            shutil.chown(name, user)
        process = subprocess.Popen([command, "-q", file], user=user)
        try:
            wait_for(lambda: process.poll() is not None or listens(port))
            yield f"postgresql://{parts.username}@127.0.0.1:{port}{parts.path}"
        finally:
            process.terminate()
            process.wait(DEADLINE)


def listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def reverse_proxy(kind: str, port: int) -> Iterator[int]:
    """Put nginx or HAProxy before a service, with connections kept open and WebSockets passed on.

    Args:
        kind: `nginx` or `haproxy`.
        port: where the service answers on this machine.

    Yields:
        The port of the proxy.
    """
    command = find(kind)
    front = free_port()
    with tempfile.TemporaryDirectory(prefix=kind) as name:
        file = Path(name) / "configuration"
        file.write_text({"nginx": NGINX, "haproxy": HAPROXY}[kind].format(**locals()))
        options = {"nginx": f"-p {name} -c {file}", "haproxy": f"-db -q -f {file}"}[kind]
        process = subprocess.Popen([command, *options.split()])
        try:
            wait_for(lambda: process.poll() is not None or listens(front))
            yield front
        finally:
            process.terminate()
            process.wait(DEADLINE)


# One connection to the service, so that what an attacker leaves on it meets the next client. The map
# is the one of nginx's documentation for WebSockets.
NGINX = """\
daemon off;
worker_processes 1;
pid {name}/pid;
error_log {name}/errors;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {name};
    proxy_temp_path {name};
    fastcgi_temp_path {name};
    uwsgi_temp_path {name};
    scgi_temp_path {name};
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream service {{ server 127.0.0.1:{port}; keepalive 1; }}
    server {{
        listen 127.0.0.1:{front};
        location / {{
            proxy_pass http://service;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
        }}
    }}
}}
"""
HAPROXY = """\
global
    nbthread 1
defaults
    mode http
    http-reuse always
    timeout connect 2s
    timeout client 60s
    timeout server 60s
frontend front
    bind 127.0.0.1:{front}
    default_backend service
backend service
    server service 127.0.0.1:{port}
"""
