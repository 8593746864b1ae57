"""Run a service's commands, each in a fork of a process that has already imported the libraries.

This script runs in the service's environment. It reads one request a line, in JSON, and answers
with one line. A fork imports the service's modules itself, so it sees the models as they are now.
"""

import asyncio
import datetime
import gc
import importlib
import json
import os
import runpy
import sqlite3
import sys
import tempfile
import traceback
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

LIBRARIES = (
    "aerich.migrate",
    "aerich.models",
    "aerich.utils",
    "aiosqlite",
    "asyncmy",
    "asyncpg",
    "click",
    "pydantic_settings",
    "tortoise.backends.asyncpg.client",
    "tortoise.backends.mysql.client",
    "tortoise.backends.sqlite.client",
    "tortoise.context",
    "tortoise.contrib.postgres.fields",
    "tortoise.fields.db_defaults",
    "tortoise.indexes",
    "tortoise.migrations.schema_generator",
)


def main() -> None:
    for library in LIBRARIES:
        try:
            importlib.import_module(library)
        except ImportError:
            continue  # another engine's
    gc.freeze()
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(answer(request)), file=answers, flush=True)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if not child:
            status = 70
            try:
                status = carry_out(request, output.fileno())
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        output.seek(0)
        return {"status": os.waitstatus_to_exitcode(status), "output": output.read()}


def carry_out(request: dict[str, Any], output: int) -> int:
    """Do what is requested, in the fork, and return the exit status."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = os.fdopen(0)
    os.environ["DATABASE_URL"] = request["url"]
    os.chdir(request["folder"])
    sys.path.insert(0, request["folder"])
    sys.dont_write_bytecode = True
    try:
        if "command" in request:
            module, *arguments = request["command"]
            sys.argv = [module, *arguments]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            function = FUNCTIONS[request["function"]]
            print(json.dumps(asyncio.run(in_context(function, request))))
    except SystemExit as exit_:
        return finish(exit_.code)
    except BaseException:  # noqa: BLE001 - the test sees its traceback
        traceback.print_exc()
        return finish(1)
    return finish(0)


def finish(code: object) -> int:
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code or 0


async def in_context(function: Callable[[dict[str, Any]], Any], request: dict[str, Any]) -> Any:
    from tortoise.context import TortoiseContext

    config = importlib.import_module("src.database.config").TORTOISE_ORM
    async with TortoiseContext() as context:
        await context.init(config)
        return await function({**request, "context": context})


async def generate(request: dict[str, Any]) -> Any:
    """Let Tortoise create the models' tables, and describe the models."""
    from tortoise import Tortoise

    state = importlib.import_module("src.database.migrate.state")
    with state.indexes_by_column("models"):
        await request["context"].generate_schemas(safe=False)
    return list(Tortoise.describe_models().values())


async def insert(request: dict[str, Any]) -> Any:
    """Insert rows with the ORM, and return the errors of those that it refuses."""
    sqlite3.register_adapter(datetime.time, str)  # SQLite's driver knows no times
    models = importlib.import_module("src.database.models")
    names = {"datetime": datetime, "uuid": uuid, "Decimal": Decimal, **vars(models)}
    inserted: dict[int, Any] = {}
    errors = []
    for row in request["rows"]:
        try:
            values = {name: eval(text, dict(names)) for name, text in row["values"].items()}
            values |= {name: inserted[number] for name, number in row["relations"].items()}
            inserted[row["number"]] = await names[row["model"]].create(**values)
        except Exception as error:  # noqa: BLE001 - the test counts them
            errors.append(f"{row['model']}: {error!r}")
    for number, name, others in request["links"]:
        try:
            related = [inserted[other] for other in others if other in inserted]
            await getattr(inserted[number], name).add(*related)
        except Exception as error:  # noqa: BLE001 - as above
            errors.append(f"{name}: {error!r}")
    return errors


FUNCTIONS = {"generate": generate, "insert": insert}

if __name__ == "__main__":
    main()
