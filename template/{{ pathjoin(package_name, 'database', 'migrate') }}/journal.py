"""Keep a journal of migrations without a transaction, in the table `aerich_unfinished`."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tortoise import BaseDBAsyncClient
from tortoise.exceptions import OperationalError
from tortoise.transactions import in_transaction

from .context import COMMAND, dialect, is_conflict, is_missing_table, is_unavailable
from .dialects import is_guard
from .errors import MigrationError
from .files import Direction, Migration
from .recorder import record
from .statements import failure

CheckLock = Callable[[BaseDBAsyncClient], Awaitable[None]]
Step = dict[str, Any]

CALL = 0  # the step of a function that runs Python
ENDED = "First repeat committed SET statements and temporary tables: they ended with the session."


@dataclass(frozen=True)
class Journal:
    """The journal on one engine. Its table exists while a migration runs or is unfinished.

    Attributes:
        text: the type of a long text.
        parameters: the placeholders of five parameters in a statement.
        repeatable: matches statements that may run again after an interruption.
        settings: matches statements for the session only, which a later session has to repeat.
        temporary: matches those that it cannot repeat, since they may depend on rows.
        leaves_parts: finds statements that may be partly done when they fail.
        advice: more advice about an unfinished migration.
    """

    text: str
    parameters: tuple[str, ...]
    repeatable: re.Pattern[str]
    settings: re.Pattern[str]
    temporary: re.Pattern[str]
    leaves_parts: re.Pattern[str]
    advice: str = ""

    async def unfinished(self, client: BaseDBAsyncClient) -> str | None:
        """Return the name of the migration that was interrupted, if any."""
        steps = await _steps(client)
        return str(steps[0]["version"]) if steps else None

    async def refuse_unfinished(self, client: BaseDBAsyncClient, direction: Direction) -> None:
        """Raise MigrationError if a migration was interrupted and cannot simply continue."""
        steps = await _steps(client) or []
        if not all(step["direction"] == direction and self._is_certain(step) for step in steps):
            raise MigrationError(self._report(steps))

    async def refuse_others_unfinished(self, client: BaseDBAsyncClient, repaired: str) -> None:
        """Raise MigrationError if another migration than the repaired one was interrupted."""
        steps = await _steps(client) or []
        if any(step["version"] != repaired for step in steps):
            raise MigrationError(self._report(steps))

    async def run(
        self,
        client: BaseDBAsyncClient,
        migration: Migration,
        direction: Direction,
        check_lock: CheckLock | None,
    ) -> None:
        """Run a migration, or the rest of it after an interruption. `settle` records it.

        Raises:
            MigrationError: a statement failed. The message lists what is kept of the migration.
        """
        if migration.function(direction).runs_python:
            steps = await self._call(client, migration, direction, check_lock)
        else:
            steps = await self._plan(client, migration, direction)
        for step in steps:
            if step["state"] != "committed":
                if check_lock:
                    await check_lock(client)
                await self._run_step(client, step, steps)
            elif self.settings.match(step["statement"]):  # of the session that was interrupted
                await client.execute_script(step["statement"])

    async def settle(
        self, client: BaseDBAsyncClient, migration: Migration, direction: Direction | None
    ) -> None:
        """Record a migration if needed, and clear the journal."""
        unfinished = await _steps(client) is not None
        async with in_transaction(client.connection_name) as db:
            if direction:
                await record(db, migration, direction)
            if unfinished:
                await db.execute_query("DELETE FROM aerich_unfinished")
        if unfinished:
            await _drop(client)

    async def _plan(
        self, client: BaseDBAsyncClient, migration: Migration, direction: Direction
    ) -> list[Step]:
        """Write the statements into the journal, or read their states from it."""
        statements = dialect.split(await migration.sql(client, direction))
        steps = _new_steps(migration, direction, statements)
        if noted := await _steps(client):
            if [{**step, "state": "not run"} for step in noted] != steps:
                raise MigrationError(self._report(noted))
            return noted
        await self._create(client)
        await self._insert(client, steps)
        return steps

    async def _call(
        self,
        client: BaseDBAsyncClient,
        migration: Migration,
        direction: Direction,
        check_lock: CheckLock | None,
    ) -> list[Step]:
        """Call a function that runs Python. A completed call is not repeated.

        The call is a step of the journal. The step and the function share a transaction. After an
        interruption the step is `not run` if that was rolled back, and `unknown` if the function
        committed it.
        """
        call: Step = _new_steps(migration, direction, [f"{direction}() in Python"], CALL)[0]
        if noted := await _steps(client):
            if {**noted[0], "state": "not run"} != call:
                raise MigrationError(self._report(noted))
            call = noted[0]
            if call["state"] == "committed":
                return noted
        else:
            await self._create(client)
            await self._insert(client, [call])
        if check_lock:
            await check_lock(client)
        try:
            if migration.run_in_transaction:
                async with in_transaction(client.connection_name) as db:
                    return await self._called(db, call, migration, direction)
            return await self._called(client, call, migration, direction)
        except Exception as error:
            if not check_lock:  # a scratch database needs no report
                raise
            await check_lock(client)
            await self._give_up(client, error)
            raise

    async def _called(
        self, db: BaseDBAsyncClient, call: Step, migration: Migration, direction: Direction
    ) -> list[Step]:
        await self._note(db, call, "unknown")
        statements = dialect.split(await migration.sql(db, direction))
        steps = _new_steps(migration, direction, statements)
        await self._insert(db, steps)
        await self._note(db, call, "committed")
        return [call, *steps]

    async def _give_up(self, client: BaseDBAsyncClient, error: Exception) -> None:
        """Drop the journal if a failed function was rolled back, or report the function."""
        steps = await _steps(client) or []
        if steps and all(step["state"] == "not run" for step in steps):
            await _drop(client)
            raise MigrationError(f"{error}\nNothing of the migration is kept.") from error
        await self._note(client, steps[CALL], "failed")
        raise MigrationError(f"{error}\n\n{self._report(steps)}") from error

    async def _run_step(self, client: BaseDBAsyncClient, step: Step, steps: list[Step]) -> None:
        await self._note(client, step, "unknown")
        try:
            await client.execute_script(step["statement"])
        except Exception as error:
            if is_unavailable(error) and not is_conflict(error):
                raise MigrationError(f"{error}\n\n{self._report(steps)}") from error
            await self._note(client, step, "failed")
            report = self._report(steps)
            statement = step["statement"]
            is_first = all(is_guard(earlier["statement"]) for earlier in steps[: steps.index(step)])
            if is_first and not self.leaves_parts.search(statement):
                await _drop(client)
                report = ""
            place = f"{step['step']} of {len(steps)}"
            raise failure(step["version"], statement, place, error, report) from error
        await self._note(client, step, "committed")

    async def _create(self, client: BaseDBAsyncClient) -> None:
        await client.execute_script(
            "CREATE TABLE IF NOT EXISTS aerich_unfinished (step INT NOT NULL PRIMARY KEY,"
            " version VARCHAR(255) NOT NULL, direction VARCHAR(20) NOT NULL,"
            f" statement {self.text} NOT NULL, state VARCHAR(20) NOT NULL)"
        )

    async def _insert(self, client: BaseDBAsyncClient, steps: list[Step]) -> None:
        if steps:
            await client.execute_many(
                "INSERT INTO aerich_unfinished (step, version, direction, state, statement)"
                f" VALUES ({', '.join(self.parameters)})",
                [list(step.values()) for step in steps],
            )

    async def _note(self, client: BaseDBAsyncClient, step: Step, state: str) -> None:
        step["state"] = state
        first, second, *_ = self.parameters
        await client.execute_query(
            f"UPDATE aerich_unfinished SET state = {first} WHERE step = {second}",
            [state, step["step"]],
        )

    def _is_certain(self, step: Step) -> bool:
        """Return whether an interrupted migration can continue after or with this step."""
        if step["state"] == "unknown":
            return self.repeatable.match(step["statement"]) is not None
        if step["state"] == "committed":
            return self.temporary.match(step["statement"]) is None
        return bool(step["state"] == "not run")

    def _report(self, steps: list[Step]) -> str:
        """List the steps of an unfinished migration, and the two ways to continue."""
        name, direction = steps[0]["version"], steps[0]["direction"].removesuffix("_sql")
        lines = [f"    {step['state']:<9}  {' '.join(step['statement'].split())}" for step in steps]
        finished, undone = "--applied", "--pending"
        if direction == "downgrade":
            finished, undone = undone, finished
        stamp = f"{COMMAND} stamp {name}"
        done = [step["statement"] for step in steps if step["state"] == "committed"]
        ended = any(self.settings.match(text) or self.temporary.match(text) for text in done)
        return "\n".join(
            [
                f"The {direction} of {name} is unfinished:",
                *lines,
                "Check in the database whether unknown steps are done. Then do one of these:",
                f"  - run the uncommitted statements by hand, then `{stamp} {finished}`",
                f"  - undo the committed statements by hand, then `{stamp} {undone}`",
                *filter(None, [ENDED if ended else "", self.advice]),
            ]
        )


def _new_steps(
    migration: Migration, direction: Direction, statements: list[str], start: int = 1
) -> list[Step]:
    plan = {"version": migration.name, "direction": direction, "state": "not run"}
    return [{"step": n, **plan, "statement": text} for n, text in enumerate(statements, start)]


async def _steps(client: BaseDBAsyncClient) -> list[Step] | None:
    query = "SELECT step, version, direction, statement, state FROM aerich_unfinished ORDER BY step"
    try:
        return await client.execute_query_dict(query)
    except OperationalError as error:
        if not is_missing_table(error):
            raise
        return None


async def _drop(client: BaseDBAsyncClient) -> None:
    await client.execute_script("DROP TABLE aerich_unfinished")
