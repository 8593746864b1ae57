"""Migrate the database: `python -m` and this package's name.

It exits with 0 when all is done, with 1 when something is wrong or refused, and with 2 when it is
called wrongly or a setting is wrong.
"""

import asyncio
import json
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from .files import (
    COMMAND,
    MigrationError,
    content_faults,
    folder_faults,
    is_unreachable,
    migrations,
    models_fault,
    reason,
)

T = TypeVar("T")

PROVEN = "Proven: the migrations make what the models want, and can be taken back"

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
    from . import apply

    _run(apply.print_sql(to) if dry_run else apply.upgrade(timeout, to))


@app.command()
def downgrade(number: Number, timeout: Timeout = 60, *, yes: Yes = False) -> None:
    """Take back the migrations after a number, the newest first."""
    from . import apply

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
    from . import apply

    _confirm(f"Is {name} {'complete' if applied else 'undone'} in the database?", yes=yes)
    _run(apply.mark(name, applied=applied, lock_timeout=timeout))


@app.command()
def status(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the migrations: applied, pending, or applied but unknown to this release."""
    from . import apply

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
def verify(
    since: Annotated[int, typer.Option(min=-1, help="The newest released migration.")] = 0,
) -> None:
    """Prove that the migrations make what the models want, and that the new ones go both ways.

    They run in a database of their own beside the configured one, which is dropped afterwards.
    """
    from .verify import verify as prove

    _tell(_run(prove(since)))


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="What changes, in a-z, 0-9 and _.")],
    rename: Annotated[
        list[str] | None, typer.Option(help="What was renamed: old=new, or table.old=new.")
    ] = None,
    *,
    no_rename: Annotated[bool, typer.Option("--no-rename", help="Nothing else was.")] = False,
) -> None:
    """Write the next migration from what changed in the models, without a server, and prove it."""
    from .write import write

    ask = typer.confirm if sys.stdin.isatty() else None
    written = _run(write(name, rename or [], (lambda _: False) if no_rename else ask))
    if written is None:
        typer.echo("Nothing changed: the models want what the migrations make")
        return
    typer.echo(f"Wrote {written.path}: read it")
    if written.missing:
        _tell([f"Write by hand: {line}" for line in written.missing])
    _finish(written.number - 1)


@app.command()
def renumber(
    names: Annotated[list[str] | None, typer.Argument(help="The files, or their names.")] = None,
) -> None:
    """Make migrations the last ones, after a merge of branches that used the same numbers."""
    from . import apply
    from .dialect import ERRORS
    from .write import renumber as move

    try:
        applied = asyncio.run(apply.read()).applied
    except ERRORS:
        applied = []
    moved = _run(move([Path(name).name for name in names or []], applied))
    for path in moved:
        typer.echo(f"Moved to {path}")
    _finish(int(moved[0].name.partition("_")[0]) - 1)


@app.command()
def baseline(*, yes: Yes = False) -> None:
    """Begin the migrations anew, after the service has moved to another database engine."""
    from .write import baseline as begin

    path, replaced = _run(begin(force=yes))
    typer.echo(f"Wrote {path}: read it")
    if replaced:
        typer.echo(f"Moved the migrations before it to {replaced}: delete them when all is well")
    _finish(0)


@app.command()
def check() -> None:
    """Check the files and the models against each other, without a database."""
    faults = folder_faults() + content_faults(migrations())
    if not faults and (fault := asyncio.run(models_fault())):
        faults.append(fault)
    _tell(faults, "The models and the migrations agree", err=False)


def _finish(since: int) -> None:
    """Prove what was written, if a server answers."""
    from .dialect import ERRORS
    from .verify import verify as prove

    try:
        faults = asyncio.run(prove(since))
    except MigrationError as error:
        faults = [str(error)]
    except ERRORS as error:
        later = f"When it can be used, run `{COMMAND} verify`"
        if is_unreachable(error):
            typer.echo(f"Not verified: no database server answers ({reason(error)}). {later}")
            return
        faults = [f"Not verified: the database cannot be used: {reason(error)}. {later}"]
    _tell(faults)


def _tell(faults: list[str], otherwise: str = PROVEN, *, err: bool = True) -> None:
    for fault in faults:
        typer.echo(fault, err=err)
    if faults:
        raise typer.Exit(1)
    typer.echo(otherwise)


def _run(work: Coroutine[object, object, T]) -> T:
    from .dialect import ERRORS

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
