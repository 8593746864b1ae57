"""Migrate the database: `python -m` and this package's name.

It exits with 0 when all is done, with 1 when something is wrong or refused, and with 2 when it is
called wrongly or a setting is wrong.
"""

import asyncio
import json
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

import click

from .files import (
    COMMAND,
    MigrationError,
    content_faults,
    folder_faults,
    migrations,
    models_fault,
    reason,
)

T = TypeVar("T")

PROVEN = "Proven: the migrations make what the models want, and can be taken back"

timeout = click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    help="Seconds to wait for the lock.",
)
yes = click.option("--yes", is_flag=True, help="Do not ask.")


@click.group(help="Migrate the database.")
def app() -> None:
    pass


@app.command()
@timeout
@click.option("--to", type=click.IntRange(min=0), help="The last migration to apply.")
@click.option("--dry-run", is_flag=True, help="Only print the SQL.")
def upgrade(timeout: float, to: int | None, *, dry_run: bool) -> None:
    """Apply the pending migrations, one process at a time."""
    from . import apply

    _run(apply.print_sql(to) if dry_run else apply.upgrade(timeout, to))


@app.command()
@click.argument("number", type=click.IntRange(min=0))
@timeout
@yes
def downgrade(number: int, timeout: float, *, yes: bool) -> None:
    """Take back the migrations after NUMBER, the newest first."""
    from . import apply

    _confirm(f"Take back every migration after number {number}?", yes=yes)
    _run(apply.downgrade(number, timeout))


@app.command()
@click.argument("name")
@click.option("--applied/--pending", required=True, help="What it is now.")
@timeout
@yes
def mark(name: str, timeout: float, *, applied: bool, yes: bool) -> None:
    """Record that the migration in the file NAME was carried out, or taken back, by hand."""
    from . import apply

    _confirm(f"Is {name} {'complete' if applied else 'undone'} in the database?", yes=yes)
    _run(apply.mark(name, applied=applied, lock_timeout=timeout))


@app.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(*, as_json: bool) -> None:
    """List the migrations: applied, pending, or applied but unknown to this release."""
    from . import apply

    state = _run(apply.read())
    states = {migration.name: "applied" for migration in migrations()}
    states |= {migration.name: "pending" for migration in state.pending}
    states |= dict.fromkeys(state.unknown, "unknown")
    if as_json:
        rows = [{"name": name, "status": status} for name, status in states.items()]
        click.echo(json.dumps(rows, indent=2))
        return
    for name, status in states.items():
        click.echo(f"{status:<9}{name}")


@app.command()
@click.option(
    "--since",
    type=click.IntRange(min=-1),
    default=0,
    show_default=True,
    help="The newest released migration.",
)
def verify(since: int) -> None:
    """Prove that the migrations make what the models want, and that the new ones go both ways.

    They run in databases of their own beside the configured one, which are dropped afterwards.
    """
    from .verify import verify as prove

    _tell(_run(prove(since)))


@app.command()
@click.argument("name")
@click.option("--rename", multiple=True, help="What was renamed: old=new, or table.old=new.")
@click.option("--no-rename", is_flag=True, help="Nothing else was.")
def new(name: str, rename: tuple[str, ...], *, no_rename: bool) -> None:
    """Write the next migration from what changed in the models, without a server, and prove it.

    NAME says what changes, in a-z, 0-9 and _.
    """
    from .write import write

    ask = click.confirm if sys.stdin.isatty() else None
    written = _run(write(name, [*rename], (lambda _: False) if no_rename else ask))
    if written is None:
        click.echo("Nothing changed: the models want what the migrations make")
        return
    click.echo(f"Wrote {written.path}: read it")
    if written.missing:
        _tell([f"Write by hand: {line}" for line in written.missing])
    _finish(written.number - 1)


@app.command()
@click.argument("names", nargs=-1)
def renumber(names: tuple[str, ...]) -> None:
    """Make migrations, by file or name, the last, after branches used the same numbers."""
    from . import apply
    from .dialect import ERRORS
    from .write import renumber as move

    try:
        applied = asyncio.run(apply.read()).applied
    except ERRORS:
        applied = []
    moved = _run(move([Path(name).name for name in names], applied))
    for path in moved:
        click.echo(f"Moved to {path}")
    _finish(int(moved[0].name.partition("_")[0]) - 1)


@app.command()
@yes
def baseline(*, yes: bool) -> None:
    """Begin the migrations anew, after the service has moved to another database engine."""
    from .write import baseline as begin

    path, replaced = _run(begin(force=yes))
    click.echo(f"Wrote {path}: read it")
    if replaced:
        click.echo(f"Moved the migrations before it to {replaced}: delete them when all is well")
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
        click.echo(f"It is not proven ({reason(error)}). With a server: `{COMMAND} verify`")
        return
    _tell(faults)


def _tell(faults: list[str], otherwise: str = PROVEN, *, err: bool = True) -> None:
    for fault in faults:
        click.echo(fault, err=err)
    if faults:
        sys.exit(1)
    click.echo(otherwise)


def _run(work: Coroutine[object, object, T]) -> T:
    from .dialect import ERRORS

    try:
        return asyncio.run(work)
    except MigrationError as error:
        click.echo(str(error), err=True)
    except BrokenPipeError:  # click's: nobody reads the output any more
        raise
    except ERRORS as error:
        click.echo(f"The database cannot be used: {reason(error)}", err=True)
    sys.exit(1)


def _confirm(question: str, *, yes: bool) -> None:
    if not yes and not sys.stdin.isatty():
        click.echo(f"{question} There is no terminal to ask at: add --yes.", err=True)
        sys.exit(1)
    if not yes:
        click.confirm(question, abort=True)


if __name__ == "__main__":
    app()
