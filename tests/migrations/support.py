"""A service with models of every kind and rows in its tables, to be changed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..support.model_changes import ROWS
from ..support.services import Process, Service

MODELS = "src/database/models.py"
MIGRATE = ("python", "-m", "src", "migrate")

# Runs in the service: one process instead of one for each step
STEPS = """
import asyncio, json, sys
new, *arguments = json.loads(sys.argv[1])
if new is not None:
    from src.database.migrate.__main__ import app
    app(["new", "change", *new], standalone_mode=False)
from tortoise.context import TortoiseContext
from src.database.config import TORTOISE_ORM
from src.database.migrate.executor import sessions
from src.database.migrate.files import migrations

async def main(rows, queries, back, after):
    seen = []
    async with TortoiseContext() as context:
        await context.init(TORTOISE_ORM)
        client = context.connections.get("default")
        *base, last = migrations()
        for migration in base:
            await sessions.run(client, migration, "upgrade")
        for row in rows + after:
            await client.execute_script(row)
        await sessions.run(client, last, "upgrade")
        for step in (None, "downgrade", "upgrade")[: 3 if back else 1]:
            if step is not None:
                await sessions.run(client, last, step)
            seen.append([])
            for query in queries if step != "downgrade" else queries[:1]:
                found = await client.execute_query_dict(query)
                seen[-1].append([list(row.values()) for row in found])
    print(json.dumps(seen, default=str))

asyncio.run(main(*arguments))
"""


@dataclass
class Changing:
    """A service whose models change.

    Attributes:
        service: it, with the migrations of `BEFORE` and an empty database.
    """

    service: Service

    def change(self, *edits: tuple[str, str]) -> None:
        for old, new in edits:
            self.service.edit(MODELS, old, new)

    def new(self, *arguments: str, status: int = 0, **environment: str) -> Process:
        return self.service.run(*MIGRATE, "new", "change", *arguments, status=status, **environment)

    def files(self) -> list[Path]:
        folder = self.service.folder / "migrations" / "models"
        return sorted(folder.glob("*.py"), key=lambda path: int(path.name.split("_")[0]))

    def steps(
        self, *queries: str, back: bool = True, after: str = "", new: list[str] | None = None
    ) -> list[list[Any]]:
        """Apply the migrations, the newest to `ROWS`; take that back, and apply it again.

        Args:
            queries: what to ask after each step; after the second the first of them only.
            back: whether to do more than the first step.
            after: a statement to run after `ROWS`.
            new: what to call `new` with before, in the same process; it must prove what it wrote.
        """
        argument = json.dumps([new, ROWS, queries, back, [after] if after else []])
        *said, answers = self.service.run("python", "-c", STEPS, argument).stdout.splitlines()
        assert new is None or said[-1].startswith("Verified")
        stages: list[list[Any]] = json.loads(answers)
        return stages
