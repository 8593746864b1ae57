"""The command for the queue: count, list, retry and drop jobs, and migrate its tables."""

import argparse
import asyncio
import sys
from collections import Counter
from importlib import import_module
from typing import Any

from pgqueuer import Job as Row
from pgqueuer import JobId, Queries

from ..database.backend import is_unavailable
from ..database.orm import UnusableDatabaseError, connect_database
from .config import MODULES
from .migration import write_migration
from .queue import JOBS, QUEUE, queue, queue_problem

STATES = {"queued": "queued", "picked": "running", "failed": "dead"}
SHOWN = 100  # dead jobs
BATCH = 100  # ids in one notification, which has 8000 bytes at most
TABLE = QUEUE.qualified.queue_table
DEAD = f"SELECT id FROM {TABLE} WHERE status = 'failed' ORDER BY id"  # noqa: S608 - the name is a constant
# A scheduled job has a key, which only one queued or running job may have
RETRYABLE = f"""
    SELECT DISTINCT ON (coalesce(dedupe_key, id::text)) id FROM {TABLE} AS dead
    WHERE status = 'failed' AND id = ANY($1::bigint[]) AND NOT EXISTS (
        SELECT FROM {TABLE} WHERE dedupe_key = dead.dedupe_key AND status <> 'failed'
    )
    ORDER BY coalesce(dedupe_key, id::text), id DESC
"""  # noqa: S608 - the name is a constant


class RefusedError(Exception):
    """Why the command did nothing, in one line."""


async def describe() -> str:
    """Count the jobs by state, and list the oldest dead ones with their last errors.

    Queued jobs whose function was renamed or removed are listed by name.
    """
    async with queue() as queries:
        counts: Counter[str] = Counter()
        unknown: Counter[str] = Counter()
        for group in await queries.queue_size():
            counts[STATES.get(group.status, group.status)] += group.count
            if group.status == "queued" and group.entrypoint not in JOBS:
                unknown[group.entrypoint] += group.count
        dead = await queries.list_failed_jobs(SHOWN, "ASC")
        lines = [await _line(queries, row) for row in dead]
    if (more := counts["dead"] - len(dead)) > 0:
        lines.append(f"and {more} more")
    lines += [f"{count} queued without a job {name} in MODULES" for name, count in unknown.items()]
    summary = ", ".join(f"{counts[state]} {state}" for state in STATES.values())
    return "\n".join([summary, *lines])


async def _line(queries: Queries, row: Row) -> str:
    errors = [log.traceback for log in await queries.job_log_history(row.id) if log.traceback]
    error = errors[-1].exception_message if errors else ""
    created = row.created.isoformat(" ", "seconds")
    return f"{row.id:>8}  {created}  {row.entrypoint}  {' '.join(error.split())}"


async def retry(ids: list[int], *, every: bool) -> str:
    """Queue dead jobs again, with all their attempts."""
    async with queue() as queries:
        chosen = await _choose(queries, ids, every=every)
        retryable = await _ids(queries, RETRYABLE, chosen)
        await queries.requeue_jobs(retryable)
    message = f"Queued again: {len(retryable)}"
    if others := len(chosen) - len(retryable):
        message += f"\nNot queued: {others}, because the same scheduled jobs are queued or running"
    return message


async def drop(ids: list[int], *, every: bool) -> str:
    """Delete dead jobs."""
    async with queue() as queries:
        chosen = await _choose(queries, ids, every=every)
        for start in range(0, len(chosen), BATCH):
            await queries.mark_job_as_cancelled(chosen[start : start + BATCH])
    return f"Dropped: {len(chosen)}"


async def _choose(queries: Queries, ids: list[int], *, every: bool) -> list[JobId]:
    dead = await _ids(queries, DEAD)
    if every:
        return dead
    if others := sorted(set(ids).difference(dead)):
        raise RefusedError(f"Choose dead jobs only: job {others[0]} is not dead.")
    return [JobId(id_) for id_ in sorted(set(ids))]


async def _ids(queries: Queries, statement: str, *arguments: object) -> list[JobId]:
    rows: list[Any] = await queries.driver.fetch(statement, *arguments)
    return [JobId(row["id"]) for row in rows]


async def _main(arguments: argparse.Namespace) -> str:
    async with connect_database():
        if arguments.command == "migration":
            return await write_migration()
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
    commands.add_parser("migration", help="write the migration of the queue's tables")
    try:
        message = asyncio.run(_main(parser.parse_args()))
    except (RefusedError, UnusableDatabaseError) as error:
        sys.exit(str(error))
    except Exception as error:
        if is_unavailable(error):
            sys.exit("The database is not reachable.")
        raise
    sys.stdout.write(f"{message}\n")
