"""A Python shell with the models and the database. `await` works at its prompt."""

import argparse
import ast
import asyncio
import code
import inspect
import sys
from types import CodeType, FunctionType
from typing import Any

from tortoise.context import TortoiseContext, require_context

from .database.orm import UnusableDatabaseError, connect_database


class AwaitingConsole(code.InteractiveConsole):
    """A console that runs `await` expressions in one event loop.

    Args:
        names: the names that are defined at the prompt.
        runner: the event loop.
    """

    def __init__(self, names: dict[str, Any], runner: asyncio.Runner) -> None:
        super().__init__(names)
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self.runner = runner

    def runcode(self, code: CodeType) -> None:
        try:
            result = FunctionType(code, self.locals)()
            if inspect.iscoroutine(result):
                self.runner.run(result)
        except SystemExit:
            raise
        except BaseException:  # noqa: BLE001 - Ctrl-C, too, ends a command and not the shell
            self.showtraceback()


def main() -> None:
    """Read statements until the end of the input.

    Raises:
        SystemExit: the database cannot be used; the message says why.
    """
    description = "Start Python with the models and the database."
    argparse.ArgumentParser(description=description).parse_args()
    with asyncio.Runner() as runner:
        connected = connect_database()
        try:
            runner.run(connected.__aenter__())
        except UnusableDatabaseError as error:
            sys.exit(str(error))
        with runner.run(_context()) as context:  # also for what is not awaited
            models = dict(context.apps["models"]) if context.apps else {}
            models.pop("Aerich", None)
            hint = f"Models: {', '.join(sorted(models))}. Example: await User.first()"
            AwaitingConsole(models, runner).interact(hint, exitmsg="")
        runner.run(connected.__aexit__(None, None, None))


async def _context() -> TortoiseContext:
    return require_context()


if __name__ == "__main__":
    main()
