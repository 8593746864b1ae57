"""A service with models of every kind and rows in its tables, to be changed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..support.services import Process, Service

MODELS = "src/database/models.py"
MIGRATE = ("python", "-m", "src.database.migrate")

BEFORE = """\
import uuid
from decimal import Decimal
from enum import Enum

from tortoise import fields
from tortoise.fields.db_defaults import Now
from tortoise.indexes import Index
from tortoise.models import Model


class Level(str, Enum):
    low = "low"
    high = "high"


class User(Model):
    id = fields.BigIntField(primary_key=True)
    username = fields.CharField(max_length=50, unique=True)
    email = fields.CharField(max_length=100, unique=True)
    hashed_password = fields.CharField(max_length=255)

    class Meta:
        table = "users"


class Team(Model):
    id = fields.IntField(primary_key=True)
    name = fields.CharField(max_length=40, unique=True)
    city = fields.CharField(max_length=30, null=True, db_index=True)
    motto = fields.TextField(null=True)


class Player(Model):
    id = fields.IntField(primary_key=True)
    nick = fields.CharField(max_length=20)
    team = fields.ForeignKeyField("models.Team", related_name="players")
    mentor = fields.ForeignKeyField("models.Player", null=True, on_delete=fields.SET_NULL)
    score = fields.IntField(default=7)
    rating = fields.DecimalField(max_digits=4, decimal_places=1, default=Decimal("1.5"))

    class Meta:
        unique_together = (("team", "nick"),)


class Locker(Model):
    id = fields.IntField(primary_key=True)
    player = fields.OneToOneField("models.Player", related_name="locker")
    number = fields.SmallIntField(db_index=True)


class Badge(Model):
    code = fields.CharField(max_length=8, primary_key=True)
    label = fields.CharField(max_length=20, db_default="none", description="what it says")
    teams = fields.ManyToManyField("models.Team", through="team_badge")

    class Meta:
        indexes = (Index(fields=("label", "code")),)
"""

# a parent, children that a cascade would delete, one that refers to another of its table
ROWS = (
    "INSERT INTO team (name, city) VALUES ('reds', 'Rome'), ('blues', NULL)",
    "INSERT INTO player (nick, team_id, mentor_id, score, rating) VALUES ('ada', 1, NULL, 3, 2.5)",
    "INSERT INTO player (nick, team_id, mentor_id, score, rating) VALUES ('bob', 1, 1, 4, 3.5)",
    "INSERT INTO locker (player_id, number) VALUES (1, 11)",
    "INSERT INTO badge (code, label) VALUES ('a', 'first')",
    "INSERT INTO team_badge (badge_id, team_id) VALUES ('a', 1)",
)
COUNTS = {"team": 2, "player": 2, "locker": 1, "badge": 1, "team_badge": 1}

# Runs in the service: one process instead of one for each step
STEPS = """
import asyncio, json, sys
new, *arguments = json.loads(sys.argv[1])
if new is not None:
    from src.database.migrate.__main__ import app
    app(["new", "change", *new], standalone_mode=False)
from tortoise.context import TortoiseContext
from src.database.config import TORTOISE_ORM
from src.database.migrate.dialect import carry_out
from src.database.migrate.files import migrations

async def main(rows, queries, back, after):
    seen = []
    async with TortoiseContext() as context:
        await context.init(TORTOISE_ORM)
        client = context.connections.get("default")
        *base, last = migrations()
        for migration in base:
            await carry_out(client, migration, "upgrade")
        for row in rows + after:
            await client.execute_script(row)
        await carry_out(client, last, "upgrade")
        for step in (None, "downgrade", "upgrade")[: 3 if back else 1]:
            if step is not None:
                await carry_out(client, last, step)
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
        assert new is None or said[-1].startswith("Proven")
        stages: list[list[Any]] = json.loads(answers)
        return stages
