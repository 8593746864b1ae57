"""The command for the queue: count, list, retry and drop jobs."""

import argparse
import asyncio
import sys
from collections import Counter
from datetime import UTC, datetime
from importlib import import_module

from tortoise.exceptions import IntegrityError
from tortoise.functions import Count

from ..database.backend import is_unavailable
from ..database.orm import UnusableDatabaseError, connect_database
from .config import MODULES
from .models import DEAD, QUEUED, RUNNING, SENT, QueuedJob
from .queue import JOBS, queue_problem

SHOWN = 100  # dead jobs
BATCH = 500  # rows in one statement, to keep each statement short


class RefusedError(Exception):
    """Why the command did nothing, in one line."""


async def describe() -> str:
    """Count the jobs by state, and list the oldest dead ones with their last errors.

    Queued jobs whose function was renamed or removed are listed by name.
    """
    groups = QueuedJob.annotate(count=Count("id")).group_by("state", "name")
    counts: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for state, name, count in await groups.values_list("state", "name", "count"):
        counts[QUEUED if state == SENT else state] += count
        if state in {QUEUED, SENT} and name not in JOBS:
            unknown[name] += count
    dead = await QueuedJob.filter(state=DEAD).order_by("id").limit(SHOWN)
    lines = [_line(row) for row in dead]
    if (more := counts[DEAD] - len(dead)) > 0:
        lines.append(f"and {more} more")
    lines += [f"{count} queued without a job {name} in MODULES" for name, count in unknown.items()]
    summary = ", ".join(f"{counts[state]} {state}" for state in (QUEUED, RUNNING, DEAD))
    return "\n".join([summary, *lines])


def _line(row: QueuedJob) -> str:
    created = row.created_at.isoformat(" ", "seconds")
    return f"{row.id:>8}  {created}  {row.name}  {' '.join((row.error or '').split())}"


async def retry(ids: list[int], *, every: bool) -> str:
    """Queue dead jobs again, with all their attempts."""
    chosen = await _choose(ids, every=every)
    retried = sum([await _queue_again(id_) for id_ in reversed(chosen)])
    message = f"Queued again: {retried}"
    if others := len(chosen) - retried:
        message += f"\nNot queued: {others}, because the same scheduled jobs are queued or running"
    return message


async def _queue_again(job_id: int) -> bool:
    dead = QueuedJob.filter(id=job_id, state=DEAD)
    row = await dead.get_or_none()
    if row is None:
        return False
    only = row.name if row.is_scheduled else None
    try:
        return bool(
            await dead.update(state=QUEUED, attempts=0, due_at=datetime.now(UTC), only=only)
        )
    except IntegrityError:  # the same scheduled job is queued or running
        return False


async def drop(ids: list[int], *, every: bool) -> str:
    """Delete dead jobs."""
    chosen = await _choose(ids, every=every)
    dropped = 0
    for start in range(0, len(chosen), BATCH):
        batch = chosen[start : start + BATCH]
        dropped += await QueuedJob.filter(id__in=batch, state=DEAD).delete()
    return f"Dropped: {dropped}"


async def _choose(ids: list[int], *, every: bool) -> list[int]:
    rows = await QueuedJob.filter(state=DEAD).order_by("id").values_list("id")
    dead = [row[0] for row in rows]
    if every:
        return dead
    if others := sorted(set(ids).difference(dead)):
        raise RefusedError(f"Choose dead jobs only: job {others[0]} is not dead.")
    return sorted(set(ids))


async def _main(arguments: argparse.Namespace) -> str:
    async with connect_database():
        if problem := await queue_problem():
            raise RefusedError(problem)
        if arguments.command == "list":
            for module in MODULES:
                import_module(module)
            return await describe()
        if bool(arguments.ids) == arguments.all:
            raise RefusedError("Add either the ids of jobs, or --all.")
        change = {"retry": retry, "drop": drop}[arguments.command]
        return await change(arguments.ids, every=arguments.all)


def main() -> None:
    """Run the command that the arguments name."""
    parser = argparse.ArgumentParser(prog=sys.argv[0], description="List, retry and drop jobs.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="count the jobs, and list the dead ones")
    for name, text in {"retry": "queue dead jobs again", "drop": "delete dead jobs"}.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("ids", nargs="*", type=int, metavar="ID")
        command.add_argument("--all", action="store_true", help="all dead jobs")
    try:
        message = asyncio.run(_main(parser.parse_args()))
    except (RefusedError, UnusableDatabaseError) as error:
        sys.exit(str(error))
    except Exception as error:
        if is_unavailable(error):
            sys.exit("The database is not reachable.")
        raise
    sys.stdout.write(f"{message}\n")
