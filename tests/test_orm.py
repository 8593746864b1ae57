"""`connect_database` gives scripts, jobs and shells the models, as the service's documentation says."""

import re

import pytest

from tools.render import ENGINES

from .support.documentation import apply, blocks
from .support.services import Service

TWICE = """
import asyncio

from src.database.models import User
from src.database.orm import connect_database


async def count() -> int:
    return await User.all().count()


async def create(name: str) -> int:
    async with connect_database():
        await User.create(username=name, email=f"{name}@example.com", hashed_password="-")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(count()) for _ in range(3)]
        return sum(task.result() for task in tasks)


print([asyncio.run(create(name)) for name in ("ada", "bob")])
"""


COMPILED = """
import asyncio

from src.customers.service import newest_customers
from src.database.models import User
from src.database.orm import connect_database
from src.database.prepared import compiled
from tortoise.transactions import in_transaction


@compiled
def customers_after(user_id: int):
    return User.filter(id__gt=user_id).order_by("id")


@compiled
def customers_with_half(user_id: int):
    return User.filter(id__gt=user_id // 2)


async def main() -> None:
    async with connect_database():
        for name in ("ada", "bob", "eve"):
            await User.create(username=name, email=f"{name}@example.com", hashed_password="-")
        async with in_transaction():
            await newest_customers(1)  # later calls use other connections
        for limit in (2, 1, 5):
            print([row["username"] for row in await newest_customers(limit)])
        print([customer.username for customer in await customers_after(1)])
        try:
            await customers_with_half(4)
        except TypeError as error:
            print(error)
        await User.all().delete()


asyncio.run(main())
asyncio.run(main())
"""
ANY_QUERY = """
import asyncio
from datetime import UTC, datetime

from src.database.prepared import compiled
from tortoise import fields
from tortoise.connection import get_connection
from tortoise.context import TortoiseContext
from tortoise.models import Model
from tortoise.query_utils import Prefetch


class Shop(Model):
    id = fields.IntField(primary_key=True)
    country = fields.CharField(2)
    opened_at = fields.DatetimeField()
    parent = fields.ForeignKeyField("models.Shop", null=True, related_name="children")


@compiled
def of_country(country: str):
    return Shop.filter(country=country).count()


@compiled
def opened(time: datetime):
    return Shop.filter(opened_at=time).count()


@compiled
def parents(shop_id: int):
    return Shop.get(id=shop_id).select_related("parent", "parent__parent")


@compiled
def all_parents(shop_id: int):
    return Shop.filter(id__gte=shop_id).order_by("id").select_related("parent", "parent__parent")


@compiled
def children(shop_id: int):
    return Shop.filter(id=shop_id).prefetch_related(
        Prefetch("children", queryset=Shop.all().order_by("id")), "children__children"
    )


@compiled
def move(country: str, shop_id: int):
    return Shop.filter(id=shop_id).update(country=country)


def above(shop):
    return [shop.parent.id, *above(shop.parent)] if shop and shop.parent_id else []


async def main() -> None:
    async with TortoiseContext() as context:
        await context.init(db_url="sqlite://:memory:", modules={"models": ["__main__"]}, use_tz=True)
        await context.generate_schemas()
        parent, time = None, datetime(2026, 1, 1, tzinfo=UTC)
        for country in ("de", "fr", "es"):
            parent = await Shop.create(country=country, opened_at=time, parent=parent)
        print(await of_country("de"), await of_country("xx"), await move("de", 2), await of_country("de"))
        found = [await parents(3), *await all_parents(1)]
        print([[shop.id, *above(shop)] for shop in found])
        client, counts = type(get_connection("default")), []
        execute = client.execute_query

        async def count(self, *arguments):
            counts[-1] += 1
            return await execute(self, *arguments)

        client.execute_query = count
        for _ in range(3):
            counts.append(0)
            await children(1)
        print(counts)
        try:
            await opened(time.replace(tzinfo=None))
        except TypeError as error:
            print(error)
        print(await opened(time))


asyncio.run(main())
"""

TAMPERED_CURSORS = """
import asyncio
import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime

from pydantic import BaseModel
from src.database.config import TORTOISE_ORM
from src.exceptions import NotFoundError
from src.pagination import paginate_sorted
from tortoise import fields
from tortoise.context import TortoiseContext
from tortoise.models import Model

APPS = {"models": {"models": ["__main__"], "default_connection": "default"}}
TIME = datetime(2026, 1, 1, tzinfo=UTC)
CURSORS = {
    "code": ["", "x" * 11, "x" * 100_000, "\\0"],
    "size": [2**31, -(2**31) - 1, 2**63, 10**30],
    "total": [2**63, -(2**63) - 1, 10**30],
    "opened_at": ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"],
}


class Place(Model):
    id = fields.BigIntField(primary_key=True)
    code = fields.CharField(10)
    size = fields.IntField()
    total = fields.BigIntField()
    opened_at = fields.DatetimeField()


class PlaceRead(BaseModel):
    id: int
    code: str
    size: int
    total: int
    opened_at: datetime


async def main() -> None:
    async with TortoiseContext() as context:
        await context.init(config={**TORTOISE_ORM, "apps": APPS})
        await context.generate_schemas()
        for number in range(3):
            await Place.create(code=f"x{number}", size=number, total=number, opened_at=TIME)
        for field, values in CURSORS.items():
            for sort in (field, f"-{field}"):
                page = await paginate_sorted(PlaceRead, Place.all(), 2, "", sort)
                rest = await paginate_sorted(PlaceRead, Place.all(), 2, page.next, sort)
                assert [len(page.items), len(rest.items), rest.next] == [2, 1, None]
                for value in values:
                    text = json.dumps({field: value, "id": 1})
                    cursor = urlsafe_b64encode(text.encode()).decode()
                    try:
                        found = await paginate_sorted(PlaceRead, Place.all(), 2, cursor, sort)
                        print(field, len(found.items))
                    except NotFoundError:
                        print(field, "not found")


asyncio.run(main())
"""


MODULE = "src.count_users"


def write_example(service: Service, path: str = "src/count_users.py") -> None:
    """Write a file of the service's documentation."""
    page = (service.folder / "docs" / "developing.md").read_text(encoding="utf-8")
    (script,) = [block for block in blocks(page) if block.path == path]
    apply(script, service.folder)


@pytest.mark.in_turn
def test_script_of_the_documentation_runs(service: Service) -> None:
    write_example(service)
    service.upgrade()

    assert service.run("python", "-W", "error", "-m", MODULE).stdout == "0 users\n"


def test_each_event_loop_has_its_connections(service: Service) -> None:
    (service.folder / "script.py").write_text(TWICE, encoding="utf-8")
    service.upgrade()

    assert service.run("python", "-W", "error", "script.py").stdout == "[3, 6]\n"


@pytest.mark.in_turn
def test_compiled_queries_fill_in_the_arguments(service: Service) -> None:
    write_example(service, "src/customers/service.py")
    (service.folder / "script.py").write_text(COMPILED, encoding="utf-8")
    service.upgrade()

    lines = service.run("python", "-W", "error", "script.py").stdout.splitlines()

    newest = ["['eve', 'bob']", "['eve']", "['eve', 'bob', 'ada']"]
    assert (lines[:3], lines[5:8]) == (newest, newest)
    assert lines[3] == "['bob', 'eve']"
    assert lines[4].startswith("Use each argument once and unchanged in the query: SELECT")


@pytest.mark.in_turn
def test_compiled_queries_find_the_same_rows(service: Service) -> None:
    """Also in short columns, in a table that is joined twice, and with prefetched rows."""
    # Tortoise joins the names of related tables in the order of a set
    output = service.run("python", "-W", "error", "-c", ANY_QUERY, PYTHONHASHSEED="1").stdout

    assert output.splitlines() == [
        "1 0 1 2",
        "[[3, 2, 1], [1], [2, 1], [3, 2, 1]]",
        "[4, 4, 4]",
        "Pass a datetime with a time zone to a compiled query",
        "3",
    ]


@pytest.mark.in_turn
def test_shell_uses_the_models(service: Service) -> None:
    service.upgrade()
    lines = """
from src.database.models import User
from src.database.orm import connect_database
async with connect_database():
    print(await User.all().count(), "users")

"""
    process = service.run("python", "-m", "asyncio", input=lines)

    assert "0 users" in process.stdout, process.stderr


def test_unusable_database_is_explained_in_one_line(service: Service) -> None:
    write_example(service)

    pending = service.run("python", "-m", MODULE, status=1).stderr.splitlines()[-1]
    assert re.search(
        r"Migrations are pending: .*_init\.py\. Run `python -m .* upgrade`\.$", pending
    )


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_unreachable_server_is_explained_in_one_line(service: Service) -> None:
    write_example(service)
    url = re.sub(r":\d+/", ":1/", service.database.url)
    away = service.run("python", "-m", MODULE, status=1, DATABASE_URL=url).stderr.splitlines()[-1]
    assert "UnusableDatabaseError: The database cannot be used: " in away
    assert "password" not in away


CANCELLED = """
import asyncio
from contextlib import suppress

from tortoise.connection import get_connection
from tortoise.transactions import in_transaction

from src.database.models import User
from src.database.orm import connect_database


async def main():
    async with connect_database():
        await User.exists()
        for _ in range(20):
            with suppress(TimeoutError):
                async with asyncio.timeout(0), in_transaction():
                    print("began")
        print(type(get_connection("default")).__name__)
        async with asyncio.timeout(5), in_transaction():
            print(await User.exists())


asyncio.run(main())
"""


def test_transactions_that_cannot_begin_keep_no_connection(service: Service) -> None:
    """More of them than the pool has connections."""
    service.upgrade()

    output = service.run("python", "-c", CANCELLED).stdout

    assert output.split() == ["Client", "False"]


TIMES = """
import asyncio

from tortoise.connection import get_connection
from tortoise.fields import DatetimeField

from src.database.backend import ENGINE
from src.database.models import User
from src.database.orm import connect_database
from src.database.rows import read_values
from src.users.administration import list_users
from src.users.schemas import UserRead

STORED = {
    "sqlite": [
        "2026-11-27 17:44:31", "2026-11-27 17:44:32.272127+00:00", "2026-11-27T17:44:33Z",
        "2026-11-27 17:44:34.2721+02:00", "2026-11-27 17:44:3", None,
    ],
    "mysql": ["2026-11-27 17:44:32.272127", None],
    "postgresql": ["2026-11-27 17:44:32.272127+00", "2026-11-27 17:44:34.2721+02", None],
}
converted = []
convert = DatetimeField.to_python_value


def count(field, value):
    converted.append(value)
    return convert(field, value)


async def main():
    async with connect_database():
        client = get_connection("default")
        stored = STORED[ENGINE]
        for number, text in enumerate(stored):
            user = await User.create(
                username=f"u{number}", email=f"u{number}@example.com", hashed_password="-"
            )
            time = f"'{text}'" if text else "NULL"
            await client.execute_query(
                f"UPDATE users SET last_login_at = {time} WHERE id = {user.id}"
            )
        expected = [user.last_login_at for user in await User.all().order_by("id")]
        DatetimeField.to_python_value = count
        query = User.all().order_by("id").values(*UserRead.model_fields)
        for rows in (await list_users("", 10, 0), await read_values(query)):
            assert [row["last_login_at"] for row in rows] == expected
            assert all(row["created_at"].utcoffset().total_seconds() == 0 for row in rows)
        print(sorted(set(map(str, converted))))


asyncio.run(main())
"""


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_times_are_read_without_the_slow_conversion(engine: str, service: Service) -> None:
    """Tortoise's conversion takes a third of a page's time on SQLite."""
    service.upgrade()

    output = service.run("python", "-W", "error", "-c", TIMES).stdout.strip()

    other_form = "'2026-11-27 17:44:3', " if engine == "sqlite" else ""
    assert output == f"[{other_form}'None']"


TYPES = """
import asyncio
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum

from tortoise import connections, fields
from tortoise.context import TortoiseContext
from tortoise.functions import Count, Max
from tortoise.models import Model

from src.database.config import TORTOISE_ORM
from src.database.orm import serving
from src.database.prepared import compiled
from src.database.rows import read_values

Colour = Enum("Colour", {"RED": "red"}, type=str)
Level = IntEnum("Level", ["LOW", "HIGH"])


class Bracketed(fields.CharField):
    def to_python_value(self, value):
        return value and f"<{value}>"


class Owner(Model):
    id = fields.IntField(primary_key=True)
    born = fields.DatetimeField(null=True)


class Thing(Model):
    id = fields.UUIDField(primary_key=True)
    owner = fields.ForeignKeyField("models.Owner", "things", null=True)
    time = fields.DatetimeField(null=True)
    day = fields.DateField(null=True)
    span = fields.TimeDeltaField(null=True)
    number = fields.DecimalField(max_digits=20, decimal_places=6, null=True)
    ratio = fields.FloatField(null=True)
    flag = fields.BooleanField(null=True)
    data = fields.JSONField(null=True)
    binary = fields.BinaryField(null=True)
    colour = fields.CharEnumField(Colour, null=True)
    level = fields.IntEnumField(Level, null=True)
    text = Bracketed(max_length=9, null=True)


NAMES = [name for name in Thing._meta.fields_map if name != "owner"]
QUERIES = [
    lambda: Thing.all().values(*NAMES, "owner__born"),
    lambda: Thing.all().values(a="time", b="owner__born", c="number", d="data", e="colour"),
    lambda: Owner.annotate(n=Count("things"), last=Max("things__time")).values("n", "last"),
    lambda: Thing.all(),
    lambda: Thing.all().select_related("owner"),
]


def plain(found):
    if isinstance(found, list):
        return sorted(map(plain, found))
    values = vars(found) if isinstance(found, Model) else found
    return repr({
        name: (value.isoformat(), value.utcoffset()) if isinstance(value, datetime)
        else plain(value) if isinstance(value, Model) else value
        for name, value in sorted(values.items())
    })


async def compare(zone, use_tz):
    apps = {"models": {"models": ["__main__"], "default_connection": "default"}}
    config = {**serving(TORTOISE_ORM), "apps": apps, "timezone": zone, "use_tz": use_tz}
    utc, india = (UTC, timezone(timedelta(hours=5.5))) if use_tz else (None, None)
    async with TortoiseContext() as context:
        await context.init(config)
        await context.generate_schemas()
        owner = await Owner.create(born=datetime(1971, 12, 10, 1, 2, 3, 4, utc))
        await Owner.create()
        await Thing.create()
        for zone in (utc, india):
            await Thing.create(
                owner=owner, time=datetime(2024, 3, 31, 1, 30, 0, 123456, zone),
                day=date(2024, 2, 29), span=timedelta(3, 0, 7), number=Decimal("0.100000"),
                ratio=1 / 3, flag=True, data={"a": [1, None, "\\u00fc"]}, binary=bytes(range(256)),
                colour=Colour.RED, level=Level.HIGH, text="text",
            )
        for query in QUERIES:
            expected = plain(await query())
            assert plain(await compiled(query)()) == expected
            if "values" in query.__code__.co_names:
                assert plain(await read_values(query())) == expected
        for table in ("thing", "owner"):
            await connections.get("default").execute_query(f"DROP TABLE {table}")


async def main():
    for zone, use_tz in (("UTC", True), ("Europe/Berlin", True), ("Asia/Kolkata", False)):
        await compare(zone, use_tz)
    print("alike")


asyncio.run(main())
"""


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_values_of_all_types_are_those_of_tortoise(engine: str, service: Service) -> None:
    assert service.run("python", "-c", TYPES).stdout == "alike\n"


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_no_row_has_the_value_of_a_tampered_cursor(service: Service) -> None:
    """The column could not be compared with it: the team's schema has no limits."""
    lines = service.run("python", "-W", "error", "-c", TAMPERED_CURSORS).stdout.splitlines()

    assert set(lines) == {
        "code 0",  # the highest first, after the empty text
        "code 2",
        *(f"{field} not found" for field in ("code", "size", "total", "opened_at")),
    }
