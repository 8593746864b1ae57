"""The database roles in compose.yaml: `owner` migrates the tables, `server` changes rows."""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncmy
import asyncpg
import httpx2
import pytest

from .conftest import MakeService
from .support.clusters import own_mariadb, own_postgresql
from .support.databases import Database
from .support.services import Server, Service

PASSWORDS = {"DATABASE_PASSWORD": "serves1", "DATABASE_OWNER_PASSWORD": "owns2"}
REFUSED = (asyncpg.InsufficientPrivilegeError, asyncmy.errors.Error)
PLACE = "/docker-entrypoint-initdb.d"


@dataclass
class Cluster:
    """A database server of the test, and how the image of compose.yaml would run a script there."""

    service: Service
    superuser: Database
    address: str
    environment: dict[str, str]

    def as_role(self, role: str) -> Database:
        """The service's database, as a role."""
        engine = self.service.database.engine
        password = PASSWORDS[{"owner": "DATABASE_OWNER_PASSWORD"}.get(role, "DATABASE_PASSWORD")]
        return Database(engine, f"{engine}://{role}:{password}@{self.address}/service")

    def shell(self, command: str) -> None:
        """Run a command as in the container, with the service's scripts in their place."""
        done = subprocess.run(
            ["bash", "-e", "-c", command.replace(PLACE, str(self.service.folder / "migrations"))],
            env={**os.environ, **PASSWORDS, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def create_roles(self) -> None:
        """Run the script as the image does with a new volume."""
        if self.service.database.engine == "postgresql":
            self.shell(
                f"psql --no-psqlrc --username postgres --dbname service -f {PLACE}/roles.sql"
            )
        else:
            client = 'mariadb --no-defaults --host=127.0.0.1 --port=$PORT --user=root "$@"'
            self.shell(f"docker_process_sql() {{ {client}; }}; . {PLACE}/roles.sh")


@pytest.fixture
def postgresql(make_service: MakeService) -> Iterator[Cluster]:
    service = make_service("postgresql")
    with own_postgresql() as server:
        Database("postgresql", server.url).query("CREATE DATABASE service")
        address = server.url.partition("@")[2].partition("/")[0]
        host, _, port = address.partition(":")
        superuser = Database("postgresql", f"postgresql://postgres@{address}/service")
        yield Cluster(service, superuser, address, {"PGHOST": host, "PGPORT": port})


@pytest.fixture
def mysql(make_service: MakeService, tmp_path: Path) -> Iterator[Cluster]:
    service = make_service("mysql")
    with own_mariadb() as server:
        Database("mysql", server.url).query("CREATE DATABASE service")
        address = server.url.partition("@")[2].partition("/")[0]
        superuser = Database("mysql", f"mysql://root@{address}/service")
        environment = {"PORT": address.partition(":")[2]}
        yield Cluster(service, superuser, address, environment)


@pytest.fixture(params=["postgresql", "mysql"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    found: Cluster = request.getfixturevalue(request.param)
    return found


def use(server: Server) -> None:
    """Sign up, log in, change the name and the password, log out and delete the account."""
    password = "correct horse battery"
    body = {"username": "ada", "email": "ada@example.com", "password": password}
    with httpx2.Client(base_url=server.url, timeout=60) as client:
        assert client.get("/readyz").status_code == 200
        assert client.post("/users", json=body).status_code == 201
        for change in ({"username": "countess"}, {"username": "ada"}):
            form = {"username": "ada@example.com", "password": password}
            token = client.post("/auth/token", data=form).json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            assert client.patch("/users/me", json=change).status_code == 200
            assert client.get("/auth/sessions").status_code == 200
        assert client.post("/auth/logout").status_code == 204
        client.headers["Authorization"] = (
            "Bearer " + client.post("/auth/token", data=form).json()["access_token"]
        )
        done = client.request("DELETE", "/users/me", json={"password": password})
        assert done.status_code == 204, done.text


def assert_roles_are_divided(cluster: Cluster) -> None:
    """Check that the service migrates as `owner`, and that `server` can only change rows."""
    owner, server = cluster.as_role("owner"), cluster.as_role("server")
    cluster.service.upgrade(owner.url)
    with cluster.service.serve(DATABASE_URL=server.url, PASSWORD_MEMORY="32") as running:
        use(running)
    assert "Traceback" not in running.output

    # tables of later migrations are covered, too
    key = {"postgresql": "SERIAL", "mysql": "INT AUTO_INCREMENT"}[server.engine]
    owner.query(f"CREATE TABLE later (id {key} PRIMARY KEY, name VARCHAR(9))")
    server.query("INSERT INTO later (name) VALUES ('a')")
    server.query("UPDATE later SET name = 'b'")
    assert server.query("SELECT name FROM later") == [("b",)]
    server.query("DELETE FROM later")
    for refused in (
        "CREATE TABLE mine (id INT)",
        "CREATE TEMPORARY TABLE mine (id INT)",
        "CREATE DATABASE mine",
        "CREATE VIEW mine AS SELECT * FROM users",
        "CREATE INDEX mine ON users (created_at)",
        "ALTER TABLE users ADD mine INT",
        "DROP TABLE users",
        "DROP TABLE later",
        "TRUNCATE TABLE later",
        "CREATE USER mine",
        "DROP DATABASE service",
    ):
        with pytest.raises(REFUSED, match=r"denied|owner|1142|1044|1227"):
            server.query(refused)
    for role in (owner, server):
        with pytest.raises(REFUSED, match="denied|1227"):
            role.query("CREATE USER mine")
    owner.query("DROP TABLE later")


def test_server_role_cannot_change_tables(cluster: Cluster) -> None:
    cluster.create_roles()
    assert_roles_are_divided(cluster)


def test_superuser_of_postgresql_has_no_password(postgresql: Cluster) -> None:
    postgresql.superuser.query("ALTER ROLE postgres PASSWORD 'owns2'")  # as the image sets it
    postgresql.create_roles()
    rows = postgresql.superuser.query(
        "SELECT rolname::text, rolsuper OR rolcreatedb OR rolcreaterole OR rolbypassrls,"
        " rolpassword IS NULL FROM pg_authid WHERE rolcanlogin ORDER BY rolname"
    )
    assert rows == [("owner", False, False), ("postgres", True, True), ("server", False, False)]


def documented(cluster: Cluster, script: str) -> str:
    """Read the command for an older volume, which then runs in the container."""
    text = (cluster.service.folder / "migrations" / script).read_text(encoding="utf-8")
    comment = "\n".join(re.findall(r"^(?:--|#)   ?(.*)", text, re.MULTILINE))
    return re.sub(r"docker compose (exec|run --rm --no-deps) database ", "", comment).replace(
        "docker compose stop\n", ""
    )


def test_older_volume_of_postgresql_gets_the_roles(postgresql: Cluster) -> None:
    """Its one user was a superuser, whom everything belongs to, what migrations created by hand too."""
    postgresql.superuser.query("CREATE ROLE service SUPERUSER LOGIN PASSWORD 'serves1'")
    old = postgresql.as_role("service")
    postgresql.service.upgrade(old.url)
    for sql in (
        "CREATE VIEW names AS SELECT username FROM users",
        "CREATE SEQUENCE numbers",
        "CREATE TYPE mood AS ENUM ('good')",
        "CREATE DOMAIN short AS text",
        "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        'CREATE TABLE "Odd name" (id bigserial, other int GENERATED ALWAYS AS IDENTITY)',
        "CREATE EXTENSION pg_trgm",
    ):
        old.query(sql)

    postgresql.shell(documented(postgresql, "roles.sql"))

    owners = old.query(
        "SELECT DISTINCT rolname::text FROM pg_roles JOIN (SELECT relowner FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace UNION ALL SELECT proowner FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace AND proname = 'one' UNION ALL"
        " SELECT typowner FROM pg_type WHERE typname IN ('mood', 'short')) AS x ON pg_roles.oid = x.relowner"
    )
    assert owners == [("owner",)]
    assert old.query("SELECT rolpassword FROM pg_authid WHERE rolname = 'service'") == [(None,)]
    extension = "SELECT proowner::regrole::text FROM pg_proc WHERE proname = 'similarity'"
    assert old.query(extension) == [("service",)]
    assert_roles_are_divided(postgresql)


def test_older_volume_of_mariadb_gets_the_users(make_service: MakeService, tmp_path: Path) -> None:
    """Its one user could change everything; the administrator's password is not known any more."""
    service = make_service("mysql")
    with own_mariadb() as server:
        address = server.url.partition("@")[2].partition("/")[0]
        superuser = Database("mysql", server.url)
        for sql in (
            "CREATE DATABASE service",
            "CREATE USER service IDENTIFIED BY 'serves1'",
            "GRANT ALL ON service.* TO service",
            "ALTER USER root@localhost IDENTIFIED BY 'forgotten'",
        ):
            superuser.query(sql)
        cluster = Cluster(service, superuser, address, {})
        old = cluster.as_role("service")
        service.upgrade(old.url)
        server.stop()
        daemon = tmp_path / "bin" / "mariadbd"
        daemon.parent.mkdir()
        daemon.write_text(f'#!/bin/sh\nexec {server.command} "$@"\n')
        daemon.chmod(0o755)
        cluster.environment["PATH"] = f"{daemon.parent}{os.pathsep}{os.environ['PATH']}"

        cluster.shell(documented(cluster, "roles.sh"))

        server.start()
        with pytest.raises(asyncmy.errors.Error, match="4151|locked"):
            old.query("SELECT 1")
        assert_roles_are_divided(cluster)
