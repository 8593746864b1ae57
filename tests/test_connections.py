"""A session of PostgreSQL that a request changed is reset before the next request."""

import httpx2
import pytest

from .support.services import DEADLINE, Service

pytestmark = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)

ROUTES = """
    from tortoise.connection import get_connection
    from tortoise.expressions import Q, Subquery
    from tortoise.functions import Coalesce, Count, Max, Min
    from tortoise.transactions import in_transaction

    from .database.models import User

    STATE = (
        "SELECT pg_backend_pid(), current_setting('search_path'), current_setting('TimeZone'),"
        " current_setting('statement_timeout'), coalesce(current_setting('app.tenant', true), ''), current_user,"
        " session_user, (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        " AND pid = pg_backend_pid()), (SELECT count(*) FROM pg_class WHERE relpersistence = 't'"
        " AND pg_table_is_visible(oid)), (SELECT count(*) FROM pg_listening_channels()),"
        " (SELECT count(*) FROM pg_cursors)"
    )

    @app.get("/state")
    async def read_state() -> list[str]:
        async with get_connection("default").acquire_connection() as connection:
            return [str(value) for value in await connection.fetchrow(STATE)]

    @app.get("/run/{how}")
    async def run(how: str, sql: str) -> None:
        client = get_connection("default")
        if how == "transaction":
            async with in_transaction() as transaction:
                await transaction.execute_query(sql)
            return
        if how == "tortoise":
            await client.execute_query(sql)
            return
        async with client.acquire_connection() as connection:
            if how == "prepare":
                await (await connection.prepare(sql)).fetch()
            elif how == "cursor":
                async with connection.transaction():
                    async for _ in connection.cursor(sql):
                        pass
            elif how == "keyword":
                await connection.fetch(query=sql)
            else:
                await connection.execute(sql)

    @app.get("/orm")
    async def use_the_orm() -> list[str]:
        needing_reset = []
        async with in_transaction() as transaction:
            connection = transaction._connection
            users = User.filter(username__icontains="a").order_by("-id")
            steps = {
                "create": lambda: User.create(username="a", email="a", hashed_password="a"),
                "bulk": lambda: User.bulk_create(
                    [User(username=n, email=n, hashed_password=n) for n in "bc"],
                    ignore_conflicts=True,
                ),
                "upsert": lambda: User.bulk_create(
                    [User(username="b", email="b", hashed_password="d")],
                    on_conflict=["username"],
                    update_fields=["hashed_password"],
                ),
                "get or create": lambda: User.get_or_create(
                    {"email": "d", "hashed_password": "d"}, username="d"
                ),
                "list": lambda: users.filter(id__in=[1, 2]).exclude(email="x").limit(3),
                "either": lambda: users.filter(Q(email="a") | Q(username__iexact="B", id__gt=1)),
                "subquery": lambda: User.filter(id__in=Subquery(users.values("id"))),
                "aggregate": lambda: User.annotate(
                    n=Count("id"), least=Min("id"), most=Max("id"), name=Coalesce("email", "")
                ).group_by("email").values("n", "least", "most", "name"),
                "count": lambda: users.count(),
                "exists": lambda: users.exists(),
                "lock": lambda: User.select_for_update().get(username="b"),
                "update": lambda: User.filter(username="b").update(email="y"),
                "delete": lambda: User.filter(username__in=list("abcd")).delete(),
            }
            for name, step in steps.items():
                await step()
                if connection.is_changed:
                    needing_reset.append(name)
                    connection.is_changed = False
        return needing_reset

    return app
"""

LEAVING = [
    "SET search_path = pg_catalog",
    "SET TIME ZONE 'Asia/Tokyo'",
    "SET SESSION statement_timeout = 1",
    "SET app.tenant = 'acme'",
    "SELECT set_config('app.tenant', 'acme', false)",
    "select\nset_config ('app.tenant', 'acme', false)",
    "SELECT set_config/**/('app.tenant', 'acme', false)",
    "SELECT set_config--\n('app.tenant', 'acme', false)",
    "SELECT \"set_config\"('app.tenant', 'acme', false)",
    "SELECT U&\"set\\005fconfig\"('app.tenant', 'acme', false)",
    "SELECT pg_catalog.set_config('app.tenant', 'acme', false)",
    "SELECT 1 WHERE (set_config('app.tenant', 'acme', false)) IN ('acme')",
    "SELECT set_config(('app.tenant'), 'acme', false)",
    "SELECT count(*) FROM set_config('app.tenant', 'acme', false)",
    "UPDATE users SET email = email WHERE set_config('app.tenant', 'acme', false) = ''",
    "DELETE FROM users WHERE set_config('app.tenant', 'acme', false) = ''",
    "INSERT INTO aerich (version) SELECT 'x' WHERE set_config('app.tenant', 'x', false) = ''",
    "WITH a AS (SELECT set_config('app.tenant', 'acme', false)) SELECT * FROM a",
    "DO $$ BEGIN PERFORM set_config('app.tenant', 'acme', false); END $$",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_try_advisory_lock_shared(1)",
    "CREATE TEMPORARY TABLE t AS SELECT 1",
    "SELECT 1 AS a INTO TEMPORARY t",
    "SET ROLE pg_monitor",
    "SET SESSION AUTHORIZATION pg_monitor",
    "LISTEN news",
]
# Only a simple query may have several statements
TEXTS = [
    "SELECT 1; SET app.tenant = 'acme'",
    "BEGIN; SET app.tenant = 'acme'; COMMIT",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    f"SET app.tenant = '{'x' * 20_000}'",
]


@pytest.mark.server
def test_session_is_reset_before_the_next_request(service: Service) -> None:
    service.edit("src/main.py", "\n    return app\n", ROUTES)
    service.upgrade()
    with service.serve(DATABASE_POOL_MIN="1", DATABASE_POOL_MAX="1") as server:
        state = server.get("/state").json()
        left = []

        def leave(how: str, sql: str) -> None:
            answer = httpx2.get(f"{server.url}/run/{how}", params={"sql": sql}, timeout=DEADLINE)
            if answer.status_code != 200 or server.get("/state").json() != state:
                left.append((how, sql, answer.status_code))

        for sql in LEAVING:
            for how in ("execute", "tortoise", "transaction", "prepare", "keyword"):
                leave(how, sql)
            if sql.upper().startswith("SELECT") and "INTO" not in sql:
                leave("cursor", sql)
        for sql in TEXTS:
            leave("execute", sql)
        assert left == []


@pytest.mark.server
def test_ordinary_statements_cost_no_reset(service: Service) -> None:
    service.edit("src/main.py", "\n    return app\n", ROUTES)
    service.upgrade()
    last = f"SELECT query FROM pg_stat_activity WHERE datname = '{service.database.name}'"
    with service.serve(DATABASE_POOL_MIN="1", DATABASE_POOL_MAX="1") as server:
        assert server.get("/orm").json() == []
        with httpx2.Client(base_url=server.url, timeout=DEADLINE) as client:
            body = {"username": "ada", "email": "ada@example.com", "password": "correct horse"}
            assert client.post("/users", json=body).status_code == 201
            login = {"username": "ada", "password": "correct horse"}
            token = client.post("/auth/token", data=login).json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            for method, path in [
                ("GET", "/users/me"),
                ("GET", "/auth/sessions"),
                ("POST", "/auth/logout"),
                ("GET", "/readyz"),
            ]:
                assert client.request(method, path).is_success
                queries = [str(query) for (query,) in service.database.query(last)]
                assert not [query for query in queries if "DISCARD TEMP" in query], path
