"""Carry out random changes as a user would, and check what must hold after each command."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from .bench import Answer, Bench, WorkerError
from .generate import REVERSIBLE, SAFE, Generator
from .models import Field, Models
from .rows import Comparison, Difference, Layout, Snapshot, layout, take
from .schema import Table, differences, read_schema

DROP = re.compile(r"--drop[ =]`?([\w.]+\w)")
PLACEHOLDER = re.compile(r"<(\w+)\.(\w+)>")
RAISE = re.compile(r"^    raise NotImplementedError\(.*\)\n", re.MULTILINE)
# a loss that `downgrade` announces
LOSS = re.compile(
    r"^([\w.]+) (?:is dropped|cannot hold|becomes NULL|keeps its values)", re.MULTILINE
)
WAY_OUT = re.compile(
    r"`|--[a-z]|\b(add|by hand|change|choose|delete|drop|edit|fill|fix|give|keep|make|migrate|name"
    r"|remove|rename|repair|replace|run|set|split|two|use|write)\b",
    re.IGNORECASE,
)

# SQL values for the rows of a new column
FILLS = {
    **dict.fromkeys(("Int", "BigInt", "SmallInt", "Decimal", "Float", "IntEnum"), "1"),
    **dict.fromkeys(("Char", "Text"), "'x'"),
    "Boolean": "TRUE",
    "Date": "'2024-02-29'",
    "Datetime": "'2024-02-29 12:00:00'",
    "Time": "'12:00:00'",
    "TimeDelta": "5",
    "UUID": "'5eb5c2a4-1e3a-4f3e-9d0c-0123456789ab'",
    "JSON": "'{}'",
    "Array": "'{}'",
}


class Failure(AssertionError):
    """Something that must hold does not.

    Attributes:
        kind: what it is, in a few words, the same for failures of the same kind.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}\n{text}")
        self.kind = kind


@dataclass
class Tally:
    """What has run so far."""

    sequences: int = 0
    steps: int = 0
    commands: int = 0
    reverted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    refused_rows: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return (
            f"{self.sequences} sequences, {self.steps} changes, {self.reverted} of them reverted,"
            f" {self.commands} commands; refused: {self._few(self.refused)};"
            f" dropped: {self._few(self.dropped)}; rows that the ORM refused: "
            f"{self.refused_rows.total()}"
        )

    def _few(self, counter: Counter[str]) -> str:
        return ", ".join(f"{kind} {count}" for kind, count in counter.most_common()) or "none"


@dataclass
class Moment:
    """Models, where their tables are, and what the database has."""

    models: Models
    places: Layout
    schema: dict[str, Table]
    rows: Snapshot


class Sequence:
    """A service's models and rows from the first migration on."""

    def __init__(self, bench: Bench, generator: Generator, tally: Tally) -> None:
        self._bench = bench
        self._generator = generator
        self._tally = tally
        self._log: list[str] = []
        self._rows: list[str] = []
        self._inserted = 0
        self._drops: set[str] = set()
        self._file: Path | None = None

    def run(self, steps: int) -> None:
        """Create tables with rows, and change the models some times.

        Raises:
            Failure: something does not hold; its text has all that is needed to repeat it.
        """
        self._bench.clear()
        self._tally.sequences += 1
        commands = self._bench.commands
        try:
            self._start()
            for _ in range(steps):
                if not self._step():
                    break
            if len(self._bench.files()) > 1:
                answer = self._command("verify")
                if answer.status:
                    self._fail("verify refuses what new has verified", answer.output)
        finally:
            self._tally.commands += self._bench.commands - commands

    def _start(self) -> None:
        self._changes: list[str] = []
        described = None
        while described is None:
            models = self._generator.models()
            self._before = self._after = models
            self._bench.write(models)
            try:
                described = self._bench.generate()
            except WorkerError as error:
                self._drop("first models", str(error))
        self._must("baseline", "--yes")
        self._must("upgrade")
        self._places = layout(models, described)
        self._models = models
        self._schema_is(self._wanted(), "after the first migration")
        self._insert()

    # commands

    def _command(self, *arguments: str) -> Answer:
        answer = self._bench.run(*arguments)
        self._log.append(f"$ {' '.join(arguments)}  # exit {answer.status}\n{answer.output}")
        if "Traceback (most recent call last)" in answer.output:
            last = answer.output.strip().rpartition("\n")[2]
            self._fail(f"traceback in {arguments[0]}: {last[:60]}", answer.output)
        if answer.status not in {0, 1}:
            self._fail(f"{arguments[0]} exits with {answer.status}", answer.output)
        return answer

    def _must(self, *arguments: str) -> Answer:
        answer = self._command(*arguments)
        if answer.status:
            self._fail(f"{arguments[0]} fails", answer.output)
        return answer

    def _fail(self, kind: str, text: str) -> NoReturn:
        engine = self._bench.engine
        after, before = self._after.source(engine), self._before.source(engine)
        written = self._file and self._file.exists() and self._file.read_text(encoding="utf-8")
        statements = written.partition("MODELS_STATE")[0] if written else "(none)"
        parts = {
            "models before": before,
            "rows": "\n".join(self._rows),
            f"models after ({', '.join(self._changes)})": after,
            "commands": "\n".join(self._log),
            "migration": statements,
        }
        report = "\n".join(f"--- {title}\n{part}" for title, part in parts.items())
        raise Failure(f"{engine}: {kind}", f"{text}\n{report}")

    def _drop(self, why: str, text: str) -> None:
        last = text.strip().rpartition("\n")[2]
        self._tally.dropped[f"{why}: {last[:50]}" if why == "first models" else why] += 1

    def _what(self) -> str:
        return "+".join(sorted(set(self._changes)))

    # what is in the database

    def _wanted(self) -> dict[str, Table]:
        return read_schema(self._bench.twin)

    def _found(self) -> dict[str, Table]:
        return self._managed(read_schema(self._bench.database))

    def _managed(self, schema: dict[str, Table]) -> dict[str, Table]:
        """Leave out the tables of unmanaged models, which stay as they are."""
        left_alone = {self._places[model.uid].name for model in self._models.unmanaged}
        return {name: table for name, table in schema.items() if name not in left_alone}

    def _schema_is(self, wanted: dict[str, Table], when: str) -> dict[str, Table]:
        found = self._found()
        if lines := differences(found, self._managed(wanted)):
            kind = re.sub(r"[\w.]+:.*| of \w+", "", lines[0])
            self._fail(f"schema {when} differs: {kind}", "\n".join(lines))
        return found

    def _moment(self) -> Moment:
        rows = take(self._bench.database, self._models, self._places)
        return Moment(self._models, self._places, self._found(), rows)

    def _insert(self) -> None:
        rows, links = self._generator.rows(self._models, self._inserted)
        self._inserted += len(rows)
        try:
            errors = self._bench.insert(rows, links)
        except WorkerError as error:
            self._fail("the ORM cannot insert rows", str(error))
        self._tally.refused_rows.update(errors)
        for row in rows:
            values = {**row["values"], **{k: f"row_{n}" for k, n in row["relations"].items()}}
            arguments = ", ".join(f"{name}={value}" for name, value in values.items())
            self._rows.append(f"row_{row['number']} = await {row['model']}.create({arguments})")
        for number, name, others in links:
            arguments = ", ".join(f"row_{other}" for other in others)
            self._rows.append(f"await row_{number}.{name}.add({arguments})")
        self._rows += [f"# the ORM refused {error}" for error in errors]

    # one change

    def _step(self) -> bool:
        """Change the models once, and say whether the sequence can go on."""
        before = self._moment()
        models, kinds, self._changes = self._generator.change(before.models)
        self._before, self._after = before.models, models
        self._forget()
        self._bench.write(models)
        try:
            places = layout(models, self._bench.generate())
        except WorkerError as error:
            self._drop("Tortoise refuses the models", str(error))
            return self._undo(before)
        self._tally.steps += 1
        wanted = self._wanted()
        if not self._new(before, places, kinds):
            return self._undo(before)
        if self._file is None:  # nothing changed in the tables
            self._models, self._places = models, places
            self._schema_is(wanted, "after new found nothing")
            return True
        self._announced(before, models, places)
        answer = self._command("upgrade")
        if answer.status:
            self._refused("upgrade", answer, kinds <= SAFE)
            if self._bench.engine == "mysql":
                return False  # it may be half done, as MySQL has no transactions for tables
            self._unchanged(before, "after a refused upgrade")
            return self._undo(before)
        self._models, self._places = models, places
        self._schema_is(wanted, "after upgrade")
        after = self._moment()
        self._kept(before, after, "upgrade")
        if self._downgrade(before, after, kinds):
            self._tally.reverted += 1
            self._must("upgrade")
            self._schema_is(wanted, "after the second upgrade")
            again = self._moment()
            self._kept(before, again, "the second upgrade")
        self._insert()
        return True

    def _forget(self) -> None:
        self._file = None
        self._drops = set()
        self._log.clear()

    def _undo(self, before: Moment) -> bool:
        """Give up a change, before it was applied."""
        if self._file:
            self._file.unlink(missing_ok=True)
        self._bench.write(before.models)
        self._models, self._places = before.models, before.places
        return True

    def _refused(self, command: str, answer: Answer, needless: bool) -> None:
        """Count a refusal; fail if it was needless, or has no way out."""
        if needless:
            self._fail(f"{command} refuses {self._what()}, which needs no decision", answer.output)
        if not WAY_OUT.search(answer.output):
            self._fail(f"{command} refuses without a way out", answer.output)
        self._tally.refused[f"{command} {self._what()}"] += 1

    def _new(self, before: Moment, places: Layout, kinds: set[str]) -> bool:
        """Write the migration, with the answers of somebody who knows what was renamed."""
        there = set(self._bench.files())
        answers = [*_renames(before.places, places), *self._links_renames(before, places)]
        for _ in range(3):
            drops = [part for name in sorted(self._drops) for part in ("--drop", name)]
            answer = self._command("new", "change", *answers, "--no-rename", *drops)
            written = sorted(set(self._bench.files()) - there)
            self._file = written[0] if written else None
            asked = set(DROP.findall(answer.output)) - self._drops
            if not answer.status or not asked or written:
                break
            self._drops |= asked
        if not answer.status:
            return True
        if self._file is None or "NotImplementedError" not in self._file.read_text("utf-8"):
            self._refused("new", answer, kinds <= SAFE)
            return False
        if kinds <= SAFE:
            self._refused("new", answer, True)
        if not self._filled(before, places):
            self._refused("new", answer, False)
            return False
        answer = self._command("verify")
        if answer.status:
            self._refused("verify after filling in", answer, kinds <= SAFE | {"add required"})
            return False
        return True

    def _links_renames(self, before: Moment, places: Layout) -> list[str]:
        """Name the tables of many-to-many relations whose `through` was changed."""
        fields = {f.uid: f for _, f in before.models.fields()}
        options = []
        for model, f in self._after.fields():
            old_model = before.models.by_uid(model.uid)
            old = fields.get(f.uid)
            if old_model and old and old.links != f.links:
                a, b = before.places[model.uid].links[f.uid][0], places[model.uid].links[f.uid][0]
                options += ["--rename", f"{a}={b}"]
        return options

    def _filled(self, before: Moment, places: Layout) -> bool:
        """Write values in the places where a new file wants them, if they are known."""
        assert self._file
        text = self._file.read_text(encoding="utf-8")
        upgrade, separator, rest = text.partition("async def downgrade")
        fields: dict[tuple[str, str], Field] = {}
        for model in self._after.models:
            old = before.models.by_uid(model.uid)
            for f in model.fields:
                is_new = old is not None and old.by_uid(f.uid) is None
                if f.has_column and is_new and f.kind in FILLS and not f.unique:
                    table = places[model.uid]
                    fields[table.name, table.columns[f.uid]] = f
        wanted = set(PLACEHOLDER.findall(upgrade))
        if not wanted or not wanted <= fields.keys():
            return False
        for table, column in wanted:
            fill = FILLS[fields[table, column].kind]
            upgrade = upgrade.replace(f"<{table}.{column}>", fill)
        self._file.write_text(RAISE.sub("", upgrade, count=1) + separator + rest, encoding="utf-8")
        return True

    # what must hold

    def _announced(self, before: Moment, models: Models, places: Layout) -> None:
        """Check that `new` asked for each loss of what the user removed."""
        for model in before.models.models:
            old = before.places[model.uid]
            new = places.get(model.uid)
            tables = {old.name, new.name} if new else {old.name}
            for f in model.fields:
                if new and (f.uid in new.columns or f.uid in new.links):
                    continue
                names = (
                    {f"{t}.{old.columns[f.uid]}" for t in tables} | tables
                    if f.has_column
                    else _named(old.links[f.uid])
                )
                is_gone = not f.has_column or new
                if is_gone and before.rows.count(f.uid) and not names & self._drops:
                    self._fail(
                        f"new does not say that {'a column' if f.has_column else 'links'} will go",
                        f"{names}",
                    )
            if not new and before.rows.count(model.uid) and old.name not in self._drops:
                self._fail("new does not say that a table will go", old.name)

    def _kept(
        self, before: Moment, after: Moment, command: str, first: Moment | None = None
    ) -> None:
        """Check that each value that is still there is the same.

        Args:
            before: what was there.
            after: what is there now.
            command: what changed it.
            first: the moment whose loss may have been agreed to, if it is not the first one.
        """
        found = Comparison(before.rows, after.rows).differences()
        unexpected = [d for d in found if not self._agreed(d, before, first or after)]
        if unexpected:
            kind = "links" if "links of" in unexpected[0].text else "values"
            kind = kind if unexpected[0].uid else "rows"
            what = self._what()
            text = "\n".join(d.text for d in unexpected)
            self._fail(f"{kind} are not the same after {command} ({what})", text)

    def _agreed(self, difference: Difference, before: Moment, after: Moment) -> bool:
        """Tell whether a value was to be dropped, and the user said so, or was filled in."""
        for model in before.models.models:
            f, new_model = model.by_uid(difference.uid), after.models.by_uid(model.uid)
            new = new_model.by_uid(difference.uid) if new_model else None
            if f and new and difference.was_null and f.null and not new.null:
                return True
            if f and new and (f.kind, f.size, f.argument) != (new.kind, new.size, new.argument):
                places = [m.places[model.uid] for m in (before, after)]
                names = {f"{a.name}.{b.columns[f.uid]}" for a in places for b in places}
                return bool(names & self._drops)
        return False

    def _unchanged(self, moment: Moment, when: str) -> None:
        self._models, self._places = moment.models, moment.places
        self._schema_is(moment.schema, when)
        now = take(self._bench.database, moment.models, moment.places)
        if (now.rows, now.links) != (moment.rows.rows, moment.rows.links):
            self._fail(f"rows changed {when}", "")

    def _downgrade(self, before: Moment, after: Moment, kinds: set[str]) -> bool:
        """Revert the migration, and say whether it was possible."""
        assert self._file
        number = int(self._file.name.partition("_")[0]) - 1
        answer = self._command("downgrade", str(number), "--yes")
        if answer.status:
            self._refused("downgrade", answer, kinds <= REVERSIBLE)
            if self._bench.engine != "mysql" or "nothing" in answer.output.lower():
                self._unchanged(after, "after a refused downgrade")
            return False
        self._models, self._places = before.models, before.places
        self._schema_is(before.schema, "after downgrade")
        reverted = self._moment()
        self._drops |= set(LOSS.findall(answer.output))
        self._survived(before, after, reverted)
        self._models, self._places = after.models, after.places
        return True

    def _survived(self, before: Moment, after: Moment, reverted: Moment) -> None:
        """Check that what both the old and the new models have is there after the downgrade."""
        found = Comparison(before.rows, reverted.rows).differences()
        unexpected: list[Any] = []
        for difference in found:
            survivors = {
                uid for table in after.places.values() for uid in (*table.columns, *table.links)
            }
            models = {after.places[uid].name for uid in after.places if uid in before.places}
            names = {before.places[uid].name for uid in before.places if uid in after.places}
            stays = difference.uid in survivors or (
                not difference.uid and difference.place in models | names
            )
            if stays and not self._agreed(difference, before, after):
                unexpected.append(difference)
        if unexpected:
            what = self._what()
            text = "\n".join(d.text for d in unexpected)
            self._fail(f"values are not the same after downgrade ({what})", text)


def _named(links: tuple[str, str, str, int]) -> set[str]:
    """List how `new` may name the loss of links: by their table, or by a column of it."""
    table, *ends, _ = links
    return {table, *(f"{table}.{end}" for end in ends)}


def _renames(before: Layout, after: Layout) -> list[str]:
    """Name the tables and columns that were renamed, as options of `new`."""
    options = []
    for uid, old in before.items():
        if uid not in after:
            continue
        new = after[uid]
        if old.name != new.name:
            options += ["--rename", f"{old.name}={new.name}"]
        for f, column in old.columns.items():
            if f in new.columns and new.columns[f] != column:
                options += ["--rename", f"{new.name}.{column}={new.columns[f]}"]
    return options
