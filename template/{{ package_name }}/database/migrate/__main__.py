"""Migrate the database: `python -m` and this package's name.

It exits with 0 when all is done, with 1 when something is wrong or refused, and with 2 when it is
called wrongly or a setting is wrong.
"""

import asyncio
import json
import sys
from collections.abc import Coroutine
from typing import Annotated, TypeVar

import typer

from .files import (
    MigrationError,
    content_faults,
    folder_faults,
    migrations,
    models_fault,
    reason,
)

T = TypeVar("T")

app = typer.Typer(
    add_completion=False,
    help="Migrate the database.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Number = Annotated[int, typer.Argument(min=0, help="The migration that stays as the newest.")]
Timeout = Annotated[float, typer.Option(min=0, help="Seconds to wait for the lock.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command()
def upgrade(
    timeout: Timeout = 60,
    to: Annotated[int | None, typer.Option(min=0, help="The last migration to apply.")] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the SQL.")] = False,
) -> None:
    """Apply the pending migrations, one process at a time."""
    from . import apply  # noqa: PLC0415 - it reads the settings, which `check` does without

    _run(apply.print_sql(to) if dry_run else apply.upgrade(timeout, to))


@app.command()
def downgrade(number: Number, timeout: Timeout = 60, *, yes: Yes = False) -> None:
    """Take back the migrations after a number, the newest first."""
    from . import apply  # noqa: PLC0415 - it reads the settings, which `check` does without

    _confirm(f"Take back every migration after number {number}?", yes=yes)
    _run(apply.downgrade(number, timeout))


@app.command()
def mark(
    name: Annotated[str, typer.Argument(help="The migration's file name.")],
    timeout: Timeout = 60,
    *,
    applied: Annotated[bool, typer.Option("--applied/--pending", help="What it is now.")],
    yes: Yes = False,
) -> None:
    """Record that a migration was carried out, or taken back, by hand."""
    from . import apply  # noqa: PLC0415 - it reads the settings, which `check` does without

    _confirm(f"Is {name} {'complete' if applied else 'undone'} in the database?", yes=yes)
    _run(apply.mark(name, applied=applied, lock_timeout=timeout))


@app.command()
def status(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the migrations: applied, pending, or applied but unknown to this release."""
    from . import apply  # noqa: PLC0415 - it reads the settings, which `check` does without

    state = _run(apply.read())
    states = {migration.name: "applied" for migration in migrations()}
    states |= {migration.name: "pending" for migration in state.pending}
    states |= dict.fromkeys(state.unknown, "unknown")
    if as_json:
        rows = [{"name": name, "status": status} for name, status in states.items()]
        typer.echo(json.dumps(rows, indent=2))
        return
    for name, status in states.items():
        typer.echo(f"{status:<9}{name}")


@app.command()
def check() -> None:
    """Check the files and the models against each other, without a database."""
    faults = folder_faults() + content_faults(migrations())
    if not faults and (fault := asyncio.run(models_fault())):
        faults.append(fault)
    for fault in faults:
        typer.echo(fault)
    if faults:
        raise typer.Exit(1)
    typer.echo("The models and the migrations agree")


def _run(work: Coroutine[object, object, T]) -> T:
    from .dialect import ERRORS  # noqa: PLC0415 - as in the commands

    try:
        return asyncio.run(work)
    except MigrationError as error:
        typer.echo(str(error), err=True)
    except BrokenPipeError:  # typer's: nobody reads the output any more
        raise
    except ERRORS as error:
        typer.echo(f"The database cannot be used: {reason(error)}", err=True)
    raise typer.Exit(1)


def _confirm(question: str, *, yes: bool) -> None:
    if not yes and not sys.stdin.isatty():
        typer.echo(f"{question} There is no terminal to ask at: add --yes.", err=True)
        raise typer.Exit(1)
    if not yes:
        typer.confirm(question, abort=True)


if __name__ == "__main__":
    app()
