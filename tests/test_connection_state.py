"""A session of MySQL or SQLite that a request changed is reset before the next request."""

from collections.abc import Iterator

import httpx2
import pytest

from .support.services import DEADLINE, Server, Service

pytestmark = pytest.mark.parametrize("engine", ["mysql", "sqlite"], indirect=True)

ROUTES = """
    from tortoise.connection import get_connection
    from tortoise.transactions import in_transaction

    STATE = {
        "mysql": [
            "SELECT @@time_zone, @@sql_mode, @@max_execution_time, @@autocommit, @tenant,"
            " DATABASE(), CURRENT_ROLE(), @@character_set_client, IS_FREE_LOCK('l'),"
            " LAST_INSERT_ID()",
            "SELECT COUNT(*) FROM t",
            "SELECT COUNT(*) FROM users",
            "SELECT COUNT(*) FROM aerich",
        ],
        "sqlite": [
            "PRAGMA foreign_keys",
            "PRAGMA case_sensitive_like",
            "PRAGMA query_only",
            "PRAGMA busy_timeout",
            "PRAGMA synchronous",
            "SELECT name FROM pragma_database_list WHERE name <> 'temp'",
            "SELECT 'a' LIKE 'A'",
            "SELECT COUNT(*) FROM t",
            "SELECT COUNT(*) FROM aerich",
            "SELECT type, name FROM sqlite_temp_master",
        ],
    }

    @app.get("/state")
    async def read_state() -> list[str]:
        client = get_connection("default")
        found = []
        for sql in STATE[client.capabilities.dialect]:
            try:
                found.append(str([tuple(row.values()) for row in await client.execute_query_dict(
                    sql.replace("max_execution_time", "max_statement_time")
                )]))
            except Exception as error:
                found.append(type(error).__name__)
        return found

    @app.get("/run/{how}")
    async def run(how: str, sql: str) -> None:
        client = get_connection("default")
        if how == "transaction":
            async with in_transaction() as transaction:
                await transaction.execute_query(sql)
        elif how == "script":
            await client.execute_script(sql)
        elif how == "query":
            await client.execute_query(sql)
        else:
            async with client.acquire_connection() as connection:
                cursor = await connection.cursor()
                await cursor.execute(sql)
                await cursor.close()

    sessions = []  # which keeps their ids from being used again

    @app.get("/session")
    async def number_session() -> int:
        async with get_connection("default").acquire_connection() as connection:
            mysql = hasattr(connection, "thread_id")
            session = connection.thread_id() if mysql else connection._conn
        if session not in sessions:
            sessions.append(session)
        return sessions.index(session)

    return app
"""

LEAVING = {
    "mysql": [
        "SET SESSION time_zone = '+09:00'",
        "SET SESSION sql_mode = 'ANSI_QUOTES'",
        "SET autocommit = 0",
        "SET NAMES latin1",
        "SET @tenant = 'acme'",
        "SELECT @tenant := 'acme'",
        "SELECT 'acme' INTO @tenant",
        "SELECT GET_LOCK('l', 0)",
        "SELECT get_lock/**/('l', 0)",
        "SELECT 1 WHERE (GET_LOCK('l', 0)) IN (1)",
        "SELECT GET_LOCK(('l'), 0)",
        "SELECT 1 AS `it's`, GET_LOCK('l', 0)",
        "SELECT LAST_INSERT_ID(77)",
        "CREATE TEMPORARY TABLE t AS SELECT 1",
        "LOCK TABLES users READ",
        "LOCK TABLES aerich WRITE",
        "USE information_schema",
        "BEGIN",  # asyncmy's pool closes such a connection, too
        "DO GET_LOCK('l', 0)",
        "/* a */ SET @tenant = 'acme'",
    ],
    "sqlite": [
        "PRAGMA foreign_keys = OFF",
        "PRAGMA case_sensitive_like(1)",
        "PRAGMA query_only = 1",
        "PRAGMA busy_timeout = 1",
        "/* a */ pragma main.synchronous = OFF",
        "ATTACH ':memory:' AS other",
        "CREATE TEMP TABLE t AS SELECT 1",
        "CREATE TABLE temp.t (a)",
        "CREATE TEMP VIEW t AS SELECT 1",
        "CREATE TEMP TRIGGER g AFTER INSERT ON users BEGIN SELECT 1; END",
    ],
}
# SQLite ignores or refuses these in a transaction
OUTSIDE_TRANSACTIONS = {
    "PRAGMA foreign_keys = OFF",
    "/* a */ pragma main.synchronous = OFF",
}
# Only a script may have several statements
SCRIPTS = {
    "mysql": ["SELECT 1; SET @tenant = 'acme'"],
    "sqlite": [
        "SELECT 1; PRAGMA foreign_keys = OFF",
        "BEGIN; CREATE TEMP TABLE t (a); COMMIT",
        "BEGIN; INSERT INTO aerich (version, app, content) VALUES ('x', 'x', '{}')",
    ],
}
ORDINARY = {
    "mysql": [
        "SELECT COUNT(*) FROM users WHERE email IN ('a@example.com', 'x (y) -- z; SET @a')",
        "SELECT * FROM `users` WHERE LOWER(`email`) LIKE 'it\\'s (' AND (id = 1 OR id > 2)",
        "UPDATE users SET email = 'b@example.com' WHERE id = 0",
    ],
    "sqlite": [
        "SELECT COUNT(*) FROM users WHERE email IN ('a@example.com', 'PRAGMA x = 1')",
        "PRAGMA table_info(users)",
        "PRAGMA database_list",
        "UPDATE users SET email = 'b@example.com' WHERE id = 0",
    ],
}


@pytest.fixture
def server(service: Service) -> Iterator[Server]:
    """A service with the routes above and with one connection."""
    # locks have names of the server, which other tests use at the same time
    routes = ROUTES.replace("'l'", f"'{service.database.name}'")
    service.edit("src/main.py", "\n    return app\n", routes)
    service.upgrade()
    mysql = service.database.engine == "mysql"
    with service.serve(**({"DATABASE_POOL_MAX": "1"} if mysql else {})) as server:
        yield server


@pytest.mark.server
def test_session_is_reset_before_the_next_request(service: Service, server: Server) -> None:
    name = service.database.engine
    state = server.get("/state").json()
    left = []

    def leave(how: str, sql: str) -> None:
        sql = sql.replace("'l'", f"'{service.database.name}'")
        httpx2.get(f"{server.url}/run/{how}", params={"sql": sql}, timeout=DEADLINE)
        found = server.get("/state").json()
        if found != state:
            left.append((how, sql, found))

    for sql in LEAVING[name]:
        for how in ("cursor", "query", "transaction", "script"):
            if name != "sqlite" or how != "transaction" or sql not in OUTSIDE_TRANSACTIONS:
                leave(how, sql)
    for sql in SCRIPTS[name]:
        leave("script", sql)
    assert left == []


@pytest.mark.server
def test_ordinary_statements_keep_the_session(service: Service, server: Server) -> None:
    with httpx2.Client(base_url=server.url, timeout=DEADLINE) as client:
        session = client.get("/session").json()
        for how in ("cursor", "query", "transaction", "script"):
            for sql in ORDINARY[service.database.engine]:
                assert client.get(f"/run/{how}", params={"sql": sql}).status_code == 200
                assert client.get("/session").json() == session, (how, sql)
        body = {"username": "ada", "email": "ada@example.com", "password": "correct horse"}
        assert client.post("/users", json=body).status_code == 201
        login = {"username": "ada", "password": "correct horse"}
        token = client.post("/auth/token", data=login).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        for path in ("/users/me", "/auth/sessions", "/readyz"):
            assert client.get(path).is_success
            assert client.get("/session").json() == session, path
