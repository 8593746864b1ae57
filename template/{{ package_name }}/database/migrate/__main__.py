"""The migration command: `python -m <package>.database.migrate --help`."""

import asyncio
import sys
from typing import Annotated

import typer

from ..engine import is_unavailable
from .files import MigrationError
from .verify import verify as prove
from .write import write

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """Make, prove and apply migrations."""


@app.command()
def verify(
    since: Annotated[int, typer.Option(min=-1, help="The newest released migration's number.")] = 0,
) -> None:
    """Prove the migrations: they make what the models want, and can be taken back.

    They run on scratch databases beside the configured one, which are dropped afterwards. Those
    numbered above --since are also taken back and applied again.
    """
    faults = asyncio.run(prove(since))
    for fault in faults:
        typer.echo(fault)
    if faults:
        raise typer.Exit(1)
    typer.echo("The migrations make what the models want, there and back again.")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="What changes, in a-z, 0-9 and _.")],
    rename: Annotated[
        list[str] | None,
        typer.Option(help="What was renamed: old=new, or table.old=new; also for tables."),
    ] = None,
    *,
    no_rename: Annotated[bool, typer.Option(help="Nothing else was renamed.")] = False,
) -> None:
    """Write the next migration from what changed in the models, and prove it.

    No server is needed to write it; without one it is not proven.
    """
    ask = typer.confirm if sys.stdin.isatty() else None
    written = asyncio.run(write(name, rename or [], (lambda _: False) if no_rename else ask))
    if written is None:
        typer.echo("Nothing changed: the migrations already make what the models want.")
        return
    typer.echo(f"Wrote {written.path}: read it.")
    if written.missing:
        for line in written.missing:
            typer.echo(f"Write by hand: {line}", err=True)
        raise typer.Exit(1)
    try:
        faults = asyncio.run(prove(written.number - 1))
    except Exception as error:
        if not is_unavailable(error):
            raise
        typer.echo("It is not proven, since no server answers: start one, and type `verify`.")
        return
    for fault in faults:
        typer.echo(fault, err=True)
    if faults:
        raise typer.Exit(1)
    typer.echo("It is proven: it makes what the models want, and can be taken back.")


def run() -> None:
    try:
        app()
    except MigrationError as error:
        typer.echo(str(error), err=True)
        sys.exit(1)


if __name__ == "__main__":
    run()
