"""The migration commands: `python -m`, the service's package and `migrate`.

Exit codes: 0 for success, 1 if something is wrong or refused, 2 if an option or a setting is
invalid, 130 if migrations were interrupted by Ctrl-C or SIGTERM.
"""

import asyncio
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from .checks import content_problems, folder_problems, missing_migrations, unfinished_problems
from .context import COMMAND, ENGINE, is_unreachable, reason, unusable
from .errors import MigrationError
from .files import Migration, migrations

if TYPE_CHECKING:
    from .executor import Progress
    from .losses import Loss
    from .planning import Plan
    from .recorder import State
    from .verification.verifier import Verification

MOST_RENAMES = 3  # that a message lists
INTERRUPTED = 128 + signal.SIGINT  # the exit code, as shells have it

T = TypeVar("T")


class OutputError(Exception):
    """The output cannot be written."""


timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    help="Seconds to wait for the lock.",
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


class OrderedGroup(click.Group):
    """List the commands in the order of this file."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=OrderedGroup)
def app() -> None:
    """Migrate the database."""


@app.command(hidden=ENGINE == "sqlite")
def create_database() -> None:
    """Create the database in DATABASE_URL, which must not exist."""
    from .executor import sessions

    name = _run(sessions.create_database())
    _print(f"Created the database {name}. Run `{COMMAND} upgrade` to create its tables")


@app.command()
@timeout_option
@click.option("--to", type=click.IntRange(min=0), help="Number of the last migration to apply.")
@click.option("--dry-run", is_flag=True, help="Only print the SQL.")
def upgrade(timeout: float, to: int | None, *, dry_run: bool) -> None:
    """Apply the pending migrations."""
    from . import executor

    if dry_run:
        _print_sql(_run(executor.pending_sql(to)))
        return
    count = _run_migrations(partial(executor.upgrade, timeout, to))
    _print(f"Applied {_count(count)}" if count else "Nothing to do: no migration is pending")


@app.command()
@click.argument(
    "number", type=click.IntRange(min=0), help="Number of the newest migration to keep."
)
@timeout_option
@yes_option
def downgrade(number: int, timeout: float, *, yes: bool) -> None:
    """Revert every migration after a number, newest first."""
    from . import executor
    from .reverting import losses_of

    planned = _run(executor.planned_downgrade(number))
    for line in _described(_run(losses_of(planned))):
        _print(line, err=True)
    _confirm(f"Revert {', '.join(migration.name for migration in planned)}?", yes=yes)
    count = _run_migrations(partial(executor.downgrade, number, timeout))
    _print(f"Reverted {_count(count)}")


@app.command()
@click.argument("name", help="The migration's file name.")
@timeout_option
@click.option("--applied/--pending", required=True, help="The state to record.")
@yes_option
def stamp(name: str, timeout: float, *, applied: bool, yes: bool) -> None:
    """Record that a migration was applied or reverted by hand."""
    from . import executor

    _run(executor.check_name(name))
    _confirm(f"Is {name} completely {'applied' if applied else 'reverted'}?", yes=yes)
    _run(executor.stamp(name, applied=applied, lock_timeout=timeout, progress=_report))
    _print(f"{name} is recorded as {'applied' if applied else 'pending'}")


app.add_command(  # its name until 0.6
    click.Command(
        "mark", callback=stamp.callback, params=stamp.params, help=stamp.help, hidden=True
    )
)


@app.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(*, as_json: bool) -> None:
    """List the migrations, and which of them are applied."""
    from . import executor

    state = _run(executor.read())
    for problem in missing_migrations():
        _print(problem, err=True)
    states = {migration.name: "applied" for migration in migrations()}
    states |= {migration.name: "pending" for migration in state.pending}
    states |= dict.fromkeys(state.unknown, "unknown")
    if state.unfinished:
        states[state.unfinished] = "unfinished"
    if as_json:
        rows = [{"name": name, "status": status} for name, status in states.items()]
        _print(json.dumps(rows, indent=2))
        return
    width = max([8, *map(len, states.values())])
    for name, status in states.items():
        _print(f"{status:<{width}} {name}")


@app.command()
@click.option(
    "--since",
    type=click.IntRange(min=-1),
    default=0,
    show_default=True,
    help="Number of the newest released migration.",
)
def verify(since: int) -> None:
    """Verify the migrations in a scratch database.

    They have to create what the models declare. Migrations after the newest released one have to
    keep all rows and be reversible.
    """
    from .verification.verifier import verify as run_verification

    _print_verification(_run(run_verification(since)))
    for migration in migrations():
        if migration.unverified:
            _print(_advice(migration, since))


def _advice(migration: Migration, since: int) -> str:
    """Write what to do with the line UNVERIFIED of a migration after a verification."""
    name = migration.name
    if migration.replaces:
        return (
            f"{name} is still UNVERIFIED: `verify` does not compare it with the migrations that it"
            " replaces. Delete that line when you have added by hand what it lists"
        )
    if migration.number <= since:
        return f"Run `{COMMAND} verify --since {migration.number - 1}` to verify {name} with rows"
    return f"Delete the line UNVERIFIED in {name}: it is verified now"


@app.command()
@click.argument("name", help="What changes: a-z, 0-9 and _.")
@click.option("--rename", multiple=True, help="A rename: old=new or table.old=new.")
@click.option("--drop", multiple=True, help="A loss to accept: table or table.column.")
@click.option("--no-rename", is_flag=True, help="Treat nothing else as renamed.")
@click.option("--empty", is_flag=True, help="Write an empty migration to fill in.")
def new(
    name: str, rename: tuple[str, ...], drop: tuple[str, ...], *, no_rename: bool, empty: bool
) -> None:
    """Write the next migration from changes in the models."""
    if empty:
        if rename or drop or no_rename:
            raise click.BadParameter("leave out the other options", param_hint="--empty")
        from .empty import write_empty

        path = write_empty(_checked_newest(name), name)
        _print(f"Wrote {_short(path)}: fill in upgrade() and downgrade()")
        return

    from .detection import plan
    from .losses import not_accepted
    from .writer import stop_note, write_plan

    ask = click.confirm if sys.stdin.isatty() else None
    newest = _checked_newest(name)
    planned = _run(plan(newest, list(rename), (lambda _: False) if no_rename else ask))
    if planned is None:
        _print("Nothing changed: the models match the migrations")
        return
    losses = planned.losses
    if no_rename:
        losses = [replace(loss, renames=()) for loss in losses]
    _refuse_unknown_drops(planned, drop)
    _confirm_losses(not_accepted(losses, drop))
    for line in _described(planned.replaced):
        _print(line)
    path = write_plan(newest.number + 1, name, planned)
    _print(f"Wrote {_short(path)}: review it")
    if note := stop_note(planned):
        _print(note)
    for place, why in planned.downgrade.missing.items():
        _print(f"It cannot be reverted until you fill in downgrade(): {place} {why}")
    if planned.upgrade.missing:
        _finish(
            [
                *(
                    f"Replace <{place}> in upgrade() of the file: {place} {why}"
                    for place, why in planned.upgrade.missing.items()
                ),
                f"Then delete the line with NotImplementedError, and run `{COMMAND} verify`",
            ]
        )
    _verify(newest.number, {path: ""})


def _checked_newest(name: str) -> Migration:
    """Return the newest migration, or exit if no other can be written after it."""
    from .writer import check_name

    files = migrations()
    try:
        check_name(name)
    except MigrationError as error:
        _finish([str(error)])
    if problems := folder_problems() or content_problems(files):
        _finish([*problems, "Nothing was written."])
    return files[-1]


def _refuse_unknown_drops(planned: "Plan", named: Sequence[str]) -> None:
    """Exit with 1 if `--drop` names what the migration keeps."""
    from .state import LEFT_ALONE

    known = {place for loss in planned.losses for place in (loss.place, loss.before)}
    for place in sorted(set(named) - known - planned.dropped):
        why = "the migration does not destroy that"
        if table := next((t for t in planned.unmanaged if f"{place}.".startswith(f"{t}.")), None):
            why = LEFT_ALONE.format(table)
        _finish([f"Remove --drop {place}: {why}"])


def _confirm_losses(open_: "list[Loss]") -> None:
    """Ask about losses. Exit with 1 if there is no terminal to ask at."""
    lines = zip(open_, _described(open_), strict=True)
    if sys.stdin.isatty():
        for loss, line in lines:
            click.confirm(f"{line}.{_hint(loss)} Continue?", abort=True)
    elif open_:
        _finish(
            [
                *(
                    f"{line}.{_hint(loss)} To accept this, add --drop {shlex.quote(loss.place)}"
                    for loss, line in lines
                ),
                "Nothing was written.",
            ]
        )


def _hint(loss: "Loss") -> str:
    """Return how to rename what would be dropped, if it could be a rename."""
    renames = loss.renames if len(loss.renames) <= MOST_RENAMES else (f"{loss.place}=NEW",)
    options = " or ".join(f"--rename {shlex.quote(rename)}" for rename in renames)
    return f" If you renamed it, add {options} instead." if options else ""


def _described(losses: "list[Loss]") -> list[str]:
    """Describe losses, with the numbers of affected rows if the database answers."""
    from .executor import count_rows, sessions

    counts: list[int | None] = [None] * len(losses)
    with suppress(MigrationError, *sessions.errors):
        counts = asyncio.run(count_rows([loss.count for loss in losses])) if losses else []
    return [loss.describe(rows) for loss, rows in zip(losses, counts, strict=True)]


@app.command()
@click.argument("names", nargs=-1, help="Files or names; by default all pending ones.")
def renumber(names: tuple[str, ...]) -> None:
    """Move the migrations of a merged branch to the end."""
    from .renumber import renumber as move

    state = _available_state()
    moved = _run(move([Path(name).name for name in names], state.applied, state.unfinished))
    if not moved:
        _print("Nothing to do: no migration has to move")
        return
    for path in moved:
        _print(f"Moved to {_short(path)}")
    _verify(int(next(iter(moved)).name.partition("_")[0]) - 1, moved)


def _available_state() -> "State":
    """Compare the database with the files; a new database if none can be used."""
    from . import executor
    from .recorder import State

    try:
        return asyncio.run(executor.read())
    except MigrationError as error:
        _finish([str(error)])
        raise
    except executor.sessions.errors:
        return State([], [], [])


@app.command()
@yes_option
def squash(*, yes: bool) -> None:
    """Replace all released migrations with one.

    A database that has all of them only records the new one at its next upgrade. The replaced
    files move to a folder next to the migrations.
    """
    from .squash import squash as replace

    _confirm("Is every migration applied in production?", yes=yes)
    squashed = _run(replace(_available_state().unfinished))
    if squashed is None:
        _print("Nothing to do: there is only one migration")
        return
    path, replaced, differences = squashed
    _print(f"Wrote {_short(path)}: review it")
    folder = _short(replaced)
    _print(f"Moved the replaced migrations to {folder}: delete them when you no longer need them")
    _finish([f"Add by hand: {line}" for line in differences])


@app.command()
@yes_option
def baseline(*, yes: bool) -> None:
    """Start new migrations after a change of database engine."""
    from .baseline import baseline as begin

    path, replaced = _run(begin(force=yes))
    _print(f"Wrote {_short(path)}: review it")
    if replaced:
        folder = _short(replaced)
        _print(f"Moved the old migrations to {folder}: delete them when you no longer need them")
    _verify(0, {path: ""})


@app.command()
def check() -> None:
    """Compare migrations and models, without a database."""
    from .model_checks import models_problems

    files = migrations()
    problems = folder_problems() + content_problems(files) or unfinished_problems(files)
    problems = problems or asyncio.run(models_problems())
    if not problems and (changed := _changed(files[-1])):
        problems = [changed]
    _finish(problems, "The models match the migrations", err=False)


def _changed(newest: Migration) -> str | None:
    """Return a message about tables that changed since the newest migration, if any."""
    from .detection import changed_tables

    changed = ", ".join(_run(changed_tables(newest)))
    message = f"Run `{COMMAND} new NAME`: the models changed since {newest.name} ({changed})"
    return message if changed else None


def _run_migrations(run: "Callable[[Progress], Coroutine[object, object, int]]") -> int:
    """Apply or revert migrations. After an interruption, describe the database."""
    from .executor import Done, Started

    running: list[str] = []

    def report(event: object) -> None:
        if isinstance(event, Started):
            running[:] = [event.migration.name]
        if isinstance(event, Done):
            running.clear()
        _report(event)

    try:
        return _run(run(report))
    except KeyboardInterrupt:
        _print(f"Interrupted: {_left_by(running)}", err=True)
        _print(f"Run `{COMMAND} status` to list what is applied", err=True)
    raise click.exceptions.Exit(INTERRUPTED)


def _left_by(running: list[str]) -> str:
    """Describe what an interrupted migration left in the database, if one was running."""
    from .executor import read, sessions

    if not running:
        return "no migration was running"
    (name,) = running
    with suppress(MigrationError, KeyboardInterrupt, *sessions.errors):
        state = asyncio.run(read())
        if not state.unfinished:
            done = "applied" if name in state.applied else "pending"
            return f"nothing is partly done, and {name} is {done}"
    again = "run the same command again to continue it, or to see how to repair it"
    return f"{name} may be partly done: {again}"


def _report(event: object) -> None:
    """Print an event of the executor."""
    from .executor import Done, Waiting

    if isinstance(event, Waiting):
        times = f"{event.waited:.0f} of {event.timeout:g} s"
        _print(f"Waiting for the migration lock held by {event.holder} ({times})", err=True)
    if isinstance(event, Done):
        if event.result == "recorded":
            _print(
                f"{event.migration.name}: recorded, because all migrations that it replaces are applied"
            )
        else:
            _print(f"{event.migration.name}: {event.result} in {event.seconds:.2f} s")


def _print_sql(pending: list[tuple[Migration, list[str] | None]]) -> None:
    for migration, statements in pending:
        _print(f"-- {migration.name}")
        if statements is None:
            _print("-- Runs Python: its SQL is only known when it runs")
        for statement in statements or []:
            _print(f"{statement.rstrip(';')};")
    _print(f"-- {_count(len(pending))} pending, nothing was changed")


def _verify(since: int, before: dict[Path, str]) -> None:
    """Verify written migrations, if a database server answers.

    Args:
        since: the number of the newest migration before them.
        before: the written files, with the reasons why they were UNVERIFIED before. They are
            UNVERIFIED until then, and stay so if there are problems.
    """
    from .executor import sessions
    from .verification.verifier import Verification
    from .verification.verifier import verify as run_verification
    from .writer import set_unverified

    try:
        found = asyncio.run(run_verification(since))
    except MigrationError as error:
        found = Verification([str(error)], [], "")
    except sessions.errors as error:
        for path, reason_before in before.items():
            set_unverified(path, reason_before)
        later = f"Run `{COMMAND} verify` when it is available"
        if is_unreachable(error):
            _print(f"Not verified: no database server answers ({reason(error)}). {later}")
            return
        _finish([f"Not verified. {unusable(error)}. {later}"])
        raise
    problems = "; ".join(" ".join(problem.split()) for problem in found.problems)
    for path in before:
        set_unverified(path, problems)
    if found.problems:
        found.problems.extend(
            f"{path.name} is marked UNVERIFIED: `upgrade` refuses it" for path in before
        )
    _print_verification(found)


def _print_verification(found: "Verification") -> None:
    for note in found.notes:
        _print(note, err=True)
    _finish(found.problems, found.summary)


def _finish(problems: Iterable[str], success: str = "", *, err: bool = True) -> None:
    problems = list(problems)
    for problem in problems:
        _print(problem, err=err)
    if problems:
        raise click.exceptions.Exit(1)
    if success:
        _print(success)


def _short(path: Path) -> Path:
    """Return a path relative to the working directory, if it is in it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _print(text: str, *, err: bool = False) -> None:
    """Print a line.

    Raises:
        OutputError: it cannot be written, such as to a full disk.
    """
    try:
        click.echo(text, err=err)
    except BrokenPipeError:  # nobody reads it any more, which Click handles
        raise
    except OSError as error:
        raise OutputError(str(error)) from error


def _run(work: Coroutine[object, object, T]) -> T:
    from .executor import sessions

    try:
        return asyncio.run(work)
    except MigrationError as error:
        _print(str(error), err=True)
    except BrokenPipeError:  # the reader of the output is gone
        raise
    except sessions.errors as error:
        if getattr(error, "filename", None) is not None:
            raise  # about a file
        _print(unusable(error), err=True)
    raise click.exceptions.Exit(1)


def _confirm(question: str, *, yes: bool) -> None:
    if not yes and not sys.stdin.isatty():
        _print(f"{question} Add --yes: there is no terminal to ask at.", err=True)
        raise click.exceptions.Exit(1)
    if not yes:
        click.confirm(question, abort=True)


def _count(number: int) -> str:
    return f"{number} migration{'' if number == 1 else 's'}"


def main() -> None:
    """Run a command. Describe an output or a file that cannot be written in one line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names may have any characters
    if sys.stdout is None:
        click.echo("Nothing was done: the standard output is closed", err=True)
        sys.exit(1)
    # a pipeline that is cancelled sends SIGTERM: drop scratch databases
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        app(prog_name=COMMAND)
    except (OSError, OutputError) as error:
        if getattr(error, "filename", None) is None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python writes the rest of it at its end
            message = f"The output cannot be written: {reason(error)}"
        else:
            message = f"A file cannot be used: {reason(error)}"
        with suppress(OSError):
            click.echo(message, err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
