"""A shell with the models and the database, IPython if that is installed. `await` works in it."""

import argparse
import ast
import asyncio
import code
import inspect
import sys
from importlib import import_module
from importlib.util import find_spec
from types import CodeType, FunctionType
from typing import Any

from .database.orm import UnusableDatabaseError, connect_database


class AwaitingConsole(code.InteractiveConsole):
    """A console that runs `await` expressions in one event loop."""

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


def interact(names: dict[str, Any], hint: str, runner: asyncio.Runner) -> None:
    """Read and run statements in IPython if it is installed, else in Python's own console."""
    if find_spec("IPython") is None:
        AwaitingConsole(names, runner).interact(hint, exitmsg="")
    else:
        embedded_shell = import_module("IPython.terminal.embed").InteractiveShellEmbed
        shell = embedded_shell(user_ns=names, banner1=f"{hint}\n", exit_msg="")
        shell.autoawait, shell.loop_runner = True, runner.run
        shell()


def main() -> None:
    """Read statements until the end of the input."""
    description = "Start Python with the models and the database."
    argparse.ArgumentParser(prog=sys.argv[0], description=description).parse_args()
    with asyncio.Runner() as runner:
        connected = connect_database()
        try:
            context = runner.run(connected.__aenter__())
        except UnusableDatabaseError as error:
            sys.exit(str(error))
        with context:  # also for what is not awaited
            models = dict(context.apps["models"]) if context.apps else {}
            models.pop("Aerich", None)
            hint = f"Models: {', '.join(sorted(models))}. Example: await User.first()"
            interact(models, hint, runner)
        runner.run(connected.__aexit__(None, None, None))


if __name__ == "__main__":
    main()
