"""Find renames between two states, order them, and apply them to tables."""

import re
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from . import conversions
from .dialects import Dialect
from .diff import Original
from .errors import MigrationError
from .state import LEFT_ALONE
from .tables import Column, Table, Tables, with_names

Ask = Callable[[str], bool]
Same = Callable[[Sequence["Rename"]], Mapping[str, str]]

TAKEN = (
    "already exists. Rename or drop it in an earlier migration: change only that in the models, "
    "run `new`, then change the rest"
)
# Two tables count as one renamed table if they share at least this part of their columns
ALIKE = 0.5


@dataclass(frozen=True)
class Rename:
    """A rename of a column, or of a table if `table` is empty.

    Attributes:
        table: the table, by its new name.
        old: the name before.
        new: the name after.
    """

    table: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.table}.{self.old}={self.new}" if self.table else f"{self.old}={self.new}"

    @classmethod
    def parse(cls, text: str, tables: Collection[str] = ()) -> "Rename":
        """Parse the output of `str`.

        Args:
            text: the output.
            tables: the names of tables, which may contain dots.
        """
        old, _, new = text.partition("=")
        if old in tables:
            return cls("", old, new)
        splits = [(old[: dot.start()], old[dot.end() :]) for dot in re.finditer(r"\.", old)]
        known = (split for split in reversed(splits) if split[0] in tables)
        table, column = next(known, splits[-1] if splits else ("", old))
        return cls(table, column, new)

    def question(self) -> str:
        what = f"{self.table}.{self.old}" if self.table else f"table {self.old}"
        return f"Did you rename {what} to {self.new}?"

    def sql(self, dialect: Dialect) -> list[str]:
        if dialect.identifier(self.old) == dialect.identifier(self.new):
            return []  # the server cuts both to the same name
        if self.table:
            return dialect.rename_column(self.table, self.old, self.new)
        return dialect.rename_table(self.old, self.new)


def apply(tables: Tables, rename: Rename) -> Tables:
    """Describe the tables after a rename; indexes and foreign keys keep their names."""

    def table_name(name: str) -> str:
        return rename.new if (rename.table, rename.old) == ("", name) else name

    def column_name(table: str, name: str) -> str:
        return rename.new if (rename.table, rename.old) == (table, name) else name

    found = {}
    for old, table in tables.items():
        now = with_names(table, table_name, column_name)
        if rename.table == old:
            now = _with_expressions(now, rename)
        elif not rename.table and rename.old == old:
            # InnoDB also renames foreign keys that it named after the table
            prefixes = (f"{old}_ibfk_", f"{now.name}_ibfk_")
            keys = (
                replace(key, names=tuple(name.replace(*prefixes) for name in key.names))
                for key in now.foreign_keys
            )
            now = replace(now, foreign_keys=frozenset(keys))
        found[now.name] = now
    return found


def apply_all(tables: Tables, renames: Iterable[Rename]) -> Tables:
    """Describe the tables after ordered renames."""
    for rename in renames:
        tables = apply(tables, rename)
    return tables


def _with_expressions(table: Table, rename: Rename) -> Table:
    """Rename a column in the expressions of generated columns and the conditions of indexes."""
    # PostgreSQL's expressions, and the conditions of a PartialIndex in Tortoise's format
    old, new = f'COALESCE("{rename.old}", ', f'COALESCE("{rename.new}", '
    condition = rf"( WHERE | AND ){re.escape(rename.old)}(?= = )"
    columns = (replace(c, computed=c.computed.replace(old, new)) for c in table.columns.values())
    indexes = (
        replace(index, extra=re.sub(condition, lambda m: m[1] + rename.new, index.extra))
        for index in table.indexes
    )
    return replace(table, columns={c.name: c for c in columns}, indexes=frozenset(indexes))


def in_order(renames: Iterable[Rename]) -> list[Rename]:
    """Order renames so that each new name is free.

    Columns and tables that swap names get a temporary name in between.
    """
    waiting = list(renames)
    done: list[Rename] = []
    while waiting:
        used = {(rename.table, rename.old) for rename in waiting}
        free = [rename for rename in waiting if (rename.table, rename.new) not in used]
        if not free:
            first = waiting.pop(0)
            # short, since servers cut or reject long names
            between = f"{first.old[:12].replace('.', '_')}_renamed_{len(done)}"
            done.append(replace(first, new=between))
            waiting.append(replace(first, old=between))
            continue
        done += free
        waiting = [rename for rename in waiting if rename not in free]
    return done


def reversed_(renames: Iterable[Rename]) -> list[Rename]:
    """Return ordered renames that undo ordered renames."""
    return [Rename(r.table, r.new, r.old) for r in reversed(list(renames))]


def original(renames: Iterable[Rename]) -> Original:
    """Return a function that maps names after ordered renames to names before them."""
    latest_first = list(renames)[::-1]

    def find_original(table: str, column: str) -> tuple[str, str]:
        for rename in latest_first:
            if not rename.table and rename.new == table:
                table = rename.old
            elif rename.table == table and rename.new == column:
                column = rename.old
        return table, column

    return find_original


def renamed_tables(names: Iterable[str], done: Sequence[Rename]) -> dict[str, str]:
    """Map names of tables to those after ordered renames."""
    found = {}
    for name in names:
        found[name] = name
        for rename in done:
            if (rename.table, rename.old) == ("", found[name]):
                found[name] = rename.new
    return found


@dataclass(frozen=True)
class Answers:
    """What is known of renames beside the models.

    Attributes:
        given: renames, `old=new` or `table.old=new`.
        ask: asks about renames that `given` does not mention; None without a terminal.
        unmanaged: the tables of unmanaged models, before and after, which have no renames.
    """

    given: list[str]
    ask: Ask | None
    unmanaged: Collection[str]


def find(old: Tables, new: Tables, same: Same, answers: Answers) -> list[Rename]:
    """Find renames, in the order in which they have to run.

    Args:
        old: the tables before.
        new: the tables after.
        same: maps old table names to new ones, for models and relations that kept their names,
            given the renames of tables that are known.
        answers: renames that a user names, or is asked about.

    Raises:
        MigrationError: an answer does not match the models, or an answer is missing.
    """
    search, start = _Search(new, set(answers.given), answers.ask), old
    moved = _moved(same(()), old, new)
    handled = {rename.old for rename in moved if rename.new not in old}
    done = search.tables(old, moved)
    for rename in done:
        search.rename_answers(rename)
    old = apply_all(old, done)
    # Relations of renamed models are known only now. Their tables may have new names already.
    more = {a: b for a, b in same(done).items() if a not in handled}
    names = renamed_tables(more, done)
    relations = search.relations(old, _moved({names[a]: more[a] for a in more}, old, new))
    old = apply_all(old, relations)
    links = _links(old, new)
    old = apply_all(old, links)
    done += [*relations, *links]
    done += search.columns(old)
    search.finish(_names(start, new, done), answers.unmanaged)
    return done


def refuse_unmanaged(answers: Iterable[str], unmanaged: Collection[str]) -> None:
    """Raise MigrationError if an answer is about the table of an unmanaged model."""
    for answer in answers:
        rename = Rename.parse(answer, unmanaged)
        names = [rename.table] if rename.table else [rename.old, rename.new]
        for name in (name for name in names if name in unmanaged):
            raise MigrationError(
                f"Remove --rename {answer}: {LEFT_ALONE.format(name)}. Rename it in the database "
                "yourself, or run `new` for the rename while the model is managed"
            )


def _names(old: Tables, new: Tables, done: Sequence[Rename]) -> set[str]:
    """List the answers that say what ordered renames do, including what follows from others."""
    found: set[str] = set()
    find_original = original(done)
    for table in new.values():
        was, _ = find_original(table.name, "")
        if was not in old:
            continue
        found.add(f"{was}={table.name}")
        for column in table.columns:
            _, before = find_original(table.name, column)
            if before != column and before in old[was].columns:
                found |= {
                    f"{place}{before}={column}" for place in (f"{was}.", f"{table.name}.", "")
                }
    return found


@dataclass
class _Search:
    new: Tables
    answers: set[str]
    ask: Ask | None

    def __post_init__(self) -> None:
        self.unanswered: list[str] = []
        self.taken: dict[str, str] = {}
        self.unused = set(self.answers)

    def tables(self, old: Tables, moved: list[Rename]) -> list[Rename]:
        gone = old.keys() - self.new.keys()
        created = self.new.keys() - old.keys()
        sure = _without_successors(moved, self.new.keys())
        chosen = sure + self._answered("", old.keys(), self.new.keys(), sure)
        _refuse_taken(chosen, old)
        renamed = apply_all(old, in_order(chosen))
        linked = {rename.old for rename in _links(renamed, self.new)}
        candidates = [
            (Rename("", a, b), _table_likeness(renamed[a], self.new[b]))
            for a in sorted((gone & renamed.keys()) - linked)
            for b in sorted(created)
        ]
        unsure = [rename for rename in moved if rename not in sure]
        candidates += [(r, 1) for r in unsure if r.old in renamed and r.new in created]
        chosen += self._asked(candidates, chosen)
        return in_order(chosen)

    def relations(self, old: Tables, moved: list[Rename]) -> list[Rename]:
        links = [name for name in old.keys() & self.new.keys() if self.new[name].link]
        staying = {
            name for name in links if old[name].link and _same_ends(old[name], self.new[name])
        }
        moved = [rename for rename in moved if old[rename.old].link]
        sure = _without_successors(moved, staying)
        _refuse_taken(sure, old)
        unsure = [(r, 1.0) for r in moved if r not in sure and r.new not in old]
        return in_order(sure + self._asked(unsure, sure))

    def columns(self, old: Tables) -> list[Rename]:
        found: list[Rename] = []
        for name in sorted(old.keys() & self.new.keys()):
            before, after = old[name].columns, self.new[name].columns
            chosen = self._answered(name, before.keys(), after.keys(), [])
            candidates = [
                (Rename(name, a, b), _likeness(before[a], after[b]))
                for a in sorted(before.keys() - after.keys())
                for b in sorted(after.keys() - before.keys())
            ]
            found += in_order(chosen + self._asked(candidates, chosen))
        return found

    def rename_answers(self, table: Rename) -> None:
        """Let answers about a renamed table's columns have its old name."""
        if table.old in self.new:
            return
        for answer in sorted(self.unused):
            rename = Rename.parse(answer, {table.old})
            if rename.table == table.old:
                self.answers.add(str(replace(rename, table=table.new)))
                self.unused -= {answer}
                self.unused.add(str(replace(rename, table=table.new)))

    def finish(self, names: set[str], unmanaged: Collection[str]) -> None:
        """Raise MigrationError if an answer has no use, or one is missing.

        Args:
            names: the answers that say what the renames do.
            unmanaged: the tables of unmanaged models.
        """
        if unused := sorted(self.unused - names):
            refuse_unmanaged(unused, unmanaged)
            taken = [self.taken[answer] for answer in unused if answer in self.taken]
            raise MigrationError(
                taken[0]
                if taken
                else f"--rename {unused[0]} does not match the models: write old=new for a table or "
                "table.old=new for a column, with the names of tables, not of classes"
            )
        if self.unanswered:
            raise MigrationError(
                "\n".join([*self.unanswered, "If nothing else was renamed, add --no-rename"])
            )

    def _answered(
        self, table: str, before: Iterable[str], after: Iterable[str], sure: list[Rename]
    ) -> list[Rename]:
        """Return the renames from answers about tables, or about one table's columns."""
        before, after = set(before), set(after)
        fitting = [
            rename
            for rename in (Rename(table, a, b) for a in sorted(before) for b in sorted(after))
            if {str(rename), f"{rename.old}={rename.new}"} & self.answers
            and rename.old != rename.new
            and (str(rename) in self.answers or _only(rename, before, after))
        ]
        self.unused -= {str(r) for r in fitting} | {f"{r.old}={r.new}" for r in fitting}
        fitting = [rename for rename in fitting if rename not in sure]
        moved = {rename.old for rename in [*sure, *fitting]}
        for rename in list(fitting):
            if rename.new in before and rename.new not in moved:
                place = f"{table}.{rename.new}" if table else rename.new
                message = f"--rename {rename}: {place} {TAKEN}"
                if table or not self.new[rename.new].link:
                    raise MigrationError(message)
                # The rename of a model may move that table of links, which is known later
                self.taken[str(rename)] = message
                self.unused.add(str(rename))
                fitting.remove(rename)
                continue
            others = [other for other in [*sure, *fitting] if other != rename]
            if any(rename.old == other.old or rename.new == other.new for other in others):
                raise MigrationError(
                    f"--rename {rename} contradicts another answer: use each name once"
                )
        return fitting

    def _asked(self, candidates: list[tuple[Rename, float]], chosen: list[Rename]) -> list[Rename]:
        """Ask about similar tables or columns, the most similar first."""
        found: list[Rename] = []
        for rename, likeness in sorted(candidates, key=lambda pair: -pair[1]):
            taken = [*chosen, *found]
            clashes = any(rename.old == r.old or rename.new == r.new for r in taken)
            if likeness < ALIKE or clashes:
                continue
            if self.ask is None:
                option = f"--rename {shlex.quote(str(rename))}"
                self.unanswered.append(f"{rename.question()} If so, add {option}")
            elif self.ask(rename.question()):
                found.append(rename)
        return found


def _moved(same: Mapping[str, str], old: Tables, new: Tables) -> list[Rename]:
    return [Rename("", a, b) for a, b in same.items() if a != b and a in old and b in new]


def _refuse_taken(chosen: list[Rename], old: Tables) -> None:
    """Raise MigrationError if a table would get the name of one that stays."""
    moved = {rename.old for rename in chosen}
    if taken := {rename.new for rename in chosen} & (old.keys() - moved):
        name = min(taken)
        option = f"--rename {shlex.quote(f'{name}=NEW')}"
        raise MigrationError(f"{name} {TAKEN}. If you renamed it, pass {option}")


def _without_successors(moved: list[Rename], staying: Collection[str]) -> list[Rename]:
    """Leave out tables that may stay, since another model or relation has their name now."""
    while True:
        targets = {rename.new for rename in moved}
        sure = [rename for rename in moved if rename.old not in staying or rename.old in targets]
        if sure == moved:
            return sure
        moved = sure


def _only(rename: Rename, before: set[str], after: set[str]) -> bool:
    """Return whether `old=new` without a table is clear: for columns, one removed and one new."""
    return not rename.table or (rename.old not in after and rename.new not in before)


def _table_likeness(old: Table, new: Table) -> float:
    """Compare two tables by the names of their columns, from 0 to 1."""
    if old.link and new.link:
        return 0  # many-to-many tables are renamed with their models
    before, after = _data(old), _data(new)
    ends = {key.table for key in old.foreign_keys} & {key.table for key in new.foreign_keys}
    if old.link and len(ends) == len({key.table for key in old.foreign_keys}):
        return 1  # a many-to-many table became a model
    return len(before & after) / max(len(before), len(after)) if before or after else 1


def _data(table: Table) -> set[str]:
    return {column.name for column in table.columns.values() if not column.primary}


def _likeness(old: Column, new: Column) -> float:
    """Compare two columns by their types, from 0 to 1."""
    if old.type == new.type:
        return 1
    return 0.75 if conversions.misfit(old.meaning, new.meaning) is not None else 0


def _links(old: Tables, new: Tables) -> list[Rename]:
    """Find automatic many-to-many tables that are renamed with their models."""
    found: list[Rename] = []
    created = {name: table for name, table in new.items() if table.link and name not in old}
    for name, table in sorted(old.items()):
        if not table.link or (name in new and not new[name].link):
            continue
        if name in new and _same_ends(table, new[name]):
            same = [new[name]]
        else:  # a new model may have got the old name of the renamed one, and so of its links
            same = [other for other in created.values() if _same_ends(table, other)]
        if len(same) != 1 or not (pairs := _same_ends(table, same[0])):
            continue
        target = same[0].name
        if target != name:
            found.append(Rename("", name, target))
            created.pop(target)
        found += in_order(Rename(target, a, b) for a, b in pairs if a != b)
    return found


def _same_ends(old: Table, new: Table) -> list[tuple[str, str]]:
    """Pair the columns of two automatic many-to-many tables between the same models."""
    for link in (new.link, new.link[::-1]):
        pairs = list(zip(old.link, link, strict=True))
        if all(_end(old, a) == _end(new, b) for a, b in pairs):
            return pairs
    return []


def _end(table: Table, column: str) -> str:
    return next(key.table for key in table.foreign_keys if key.column == column)
