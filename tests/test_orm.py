"""`connect_database` gives scripts, jobs and shells the models, as the service's documentation says."""

import re

import pytest

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


MODULE = "src.count_users"


def write_example(service: Service) -> None:
    """Write the script of the service's documentation."""
    page = (service.folder / "docs" / "developing.md").read_text(encoding="utf-8")
    (script,) = [block for block in blocks(page) if block.path == "src/count_users.py"]
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
