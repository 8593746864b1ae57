"""Draw models, rows, and changes of models."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, TypeVar

from hypothesis import strategies as st

from .models import Field, Model, Models
from .values import unique_value, values

T = TypeVar("T")

KINDS = (
    *("Int", "BigInt", "SmallInt", "Char", "Text", "Boolean", "Decimal", "Float", "Date"),
    *("Datetime", "Time", "TimeDelta", "UUID", "JSON", "Binary", "CharEnum", "IntEnum"),
)
INDEXED = {"Int", "BigInt", "SmallInt", "Char", "Decimal", "Date", "Datetime", "UUID", "IntEnum"}
UNIQUE = INDEXED - {"IntEnum"}
DB_DEFAULTS = {
    "Int": ("5", "-1"),
    "BigInt": ("5000000000",),
    "Char": ("'db'", "''"),
    "Boolean": ("True", "False"),
    "Datetime": ("Now()",),
}
CALLABLES = {"UUID": "uuid.uuid4", "JSON": "dict", "Char": "made", "Text": "made", "Array": "list"}
LENGTHS = (1, 5, 20, 255)
DECIMALS = ((4, 1), (8, 2), (20, 8), (12, 0))
CONVERSIONS = {
    "Int": ("BigInt", "SmallInt", "Char", "Text", "Decimal", "Float", "Boolean", "UUID"),
    "BigInt": ("Int", "Text", "Decimal"),
    "SmallInt": ("Int", "BigInt", "Char", "Boolean"),
    "Char": ("Text", "Int", "UUID", "JSON", "CharEnum", "Decimal"),
    "Text": ("Char", "Int", "JSON", "Binary"),
    "Boolean": ("Int", "SmallInt", "Char"),
    "Decimal": ("Int", "Float", "Char", "Text"),
    "Float": ("Decimal", "Int", "Text"),
    "Date": ("Datetime", "Char", "Int"),
    "Datetime": ("Date", "Text", "Time"),
    "Time": ("Text", "TimeDelta"),
    "TimeDelta": ("BigInt", "Text"),
    "UUID": ("Char", "Text", "Binary"),
    "JSON": ("Text", "Binary"),
    "Binary": ("Text",),
    "CharEnum": ("Char", "Text"),
    "IntEnum": ("Int", "SmallInt", "Char"),
    "Array": ("Text", "JSON"),
}
MODELS = (
    *("Team", "Player", "Tag", "Order", "Group", "Post", "Note", "Item", "Badge", "UserGroup"),
    "AVeryLongNameOfAModelWhichSomebodyReallyChoseForTheirTable",
)
FIELDS = (
    *("name", "order", "key", "value", "group", "title", "city", "score", "a", "b", "c", "rank"),
    *("userName", "default", "a_very_long_name_of_a_field_that_is_just_short_enough_for_it"),
)

# Changes that a migration must carry out, and revert, without a refusal
REVERSIBLE = {"add", "rename", "table", "index", "description", "default", "nullable", "on_delete"}
# a table that is managed again may have rows that no migration brought, so it is not dropped
SAFE = REVERSIBLE | {"remove", "widen", "not unique", "managed"}


class Generator:
    """Draw from Hypothesis, for one engine."""

    def __init__(self, draw: Callable[[Any], Any], engine: str) -> None:
        self._draw = draw
        self.engine = engine
        self.kinds = (*KINDS, "Array") if engine == "postgresql" else KINDS
        self._used: dict[int, set[int]] = {}  # what one-to-one relations refer to

    def one(self, items: Sequence[T]) -> T:
        chosen: T = self._draw(st.sampled_from(items))
        return chosen

    def number(self, least: int, most: int) -> int:
        return int(self._draw(st.integers(least, most)))

    def maybe(self, parts: int = 2) -> bool:
        """Be true once in so many times."""
        return self.number(1, parts) == parts

    # models

    def models(self) -> Models:
        models = Models()
        for _ in range(self.number(1, 3)):
            self.add_model(models)
        for _ in range(self.number(0, 3)):
            self.add_relation(models)
        return models

    def _name(self, names: Sequence[str], used: set[str]) -> str:
        # names are equal to an engine when they differ in case only
        taken = {name.lower() for name in used}
        return self.one([name for name in names if name.lower() not in taken])

    def add_model(self, models: Models) -> set[str]:
        name = self._name(MODELS, {m.name for m in models.all} | _tables(models))
        model = Model(models.uid(), name)
        model.fields.append(self._primary(models))
        models.models.append(model)
        for _ in range(self.number(1, 4)):
            self._add_field(models, model)
        if self.maybe(4):
            model.description = "what it's for"
        return {"add"}

    def _primary(self, models: Models) -> Field:
        kind = self.one(("Int", "Int", "BigInt", "SmallInt", "UUID", "Char"))
        field = Field(models.uid(), "id", kind, primary=True)
        if kind == "Char":
            field.name, field.size = "code", (20,)
        return field

    def _add_field(self, models: Models, model: Model) -> set[str]:
        name = self._name(FIELDS, {f.name for f in model.fields} | {f.column for f in model.fields})
        f = Field(models.uid(), name, self.one(self.kinds))
        self._shape(f)
        f.null = self.maybe()
        choice = self.one(("", "constant", "callable", "database"))
        if choice == "constant":
            f.default = self.one(values(f)[:3])
        elif choice == "callable":
            f.default = CALLABLES.get(f.kind, "")
        elif choice == "database" and f.kind in DB_DEFAULTS:
            allowed = [d for d in DB_DEFAULTS[f.kind] if f.kind != "Char" or f.size[0] >= 4]
            f.db_default = self.one(allowed) if allowed else ""
        if f.kind == "Datetime" and not f.default and self.maybe():
            f.auto, f.null = self.one(("auto_now", "auto_now_add")), False
        f.unique = f.kind in UNIQUE and self.maybe(5) and unique_value(f, 1) is not None
        f.index = f.kind in INDEXED and self.maybe(5)
        if self.maybe(6):
            f.description = "it's 100 % of\nthis"
        if self.maybe(8):
            f.column = f"{name[:20]}_column"
        model.fields.append(f)
        if f.unique and (f.default or f.db_default or f.auto):
            return {"add unique"}
        if f.null or f.auto or f.db_default or (f.default and f.default != "made"):
            return {"add"}
        return {"add required"}

    def _shape(self, f: Field) -> None:
        f.size, f.argument = (), ""
        if f.kind == "Char":
            f.size = (self.one(LENGTHS),)
        elif f.kind == "Decimal":
            f.size = self.one(DECIMALS)
        elif f.kind == "CharEnum":
            f.argument, f.size = self.one(("Colour", "Plain")), (20,)
        elif f.kind == "IntEnum":
            f.argument = "Size"
        elif f.kind == "Array":
            f.argument = self.one(("int", "text"))

    def add_relation(self, models: Models) -> set[str]:
        model = self.one(models.models)
        # one of those before it, or itself: Tortoise creates no tables that refer to each other
        target = self.one(models.models[: models.models.index(model) + 1])
        kind = self.one(("ForeignKey", "ForeignKey", "OneToOne", "ManyToMany"))
        uid = models.uid()
        f = Field(uid, f"to_{target.name.lower()[:20]}_{uid}", kind, target=target.uid)
        if kind != "ManyToMany":
            f.null = self.maybe()
            choices = ["", "CASCADE", "RESTRICT", "NO_ACTION", *(["SET_NULL"] if f.null else [])]
            f.on_delete = self.one(choices)
            f.db_constraint = not self.maybe(6)
            natural = [x.uid for x in target.fields if x.unique and not x.is_relation]
            if natural and self.maybe(4):
                f.to_field = self.one(natural)
        model.fields.append(f)
        return {"add"} if f.null or kind == "ManyToMany" else {"add required"}

    # changes

    def change(self, models: Models) -> tuple[Models, set[str], list[str]]:
        """Change models once, or sometimes twice at once; say of which kind, and by which changes."""
        changed, kinds, names = deepcopy(models), set[str](), list[str]()
        while not kinds or ("managed" not in kinds and len(names) < 3 and self.maybe(4)):
            name = self.one(CHANGES)
            if kinds and name == "set_managed":
                continue  # a table that is also renamed would not be renamed in the database
            found: set[str] | None = getattr(self, name)(changed)
            if found:
                kinds |= found
                names.append(name)
        if "remove" in kinds and len(names) > 1:
            kinds.add("swap")  # another change may take the name of what was removed
        return changed, kinds, names

    def _pick(self, models: Models, suits: Callable[[Model, Field], bool]) -> list[Any]:
        found = [(m, f) for m, f in models.fields() if suits(m, f)]
        return list(self.one(found)) if found else [None, None]

    def add_field(self, models: Models) -> set[str]:
        return self._add_field(models, self.one(models.models))

    def remove_field(self, models: Models) -> set[str] | None:
        referred = {f.to_field for _, f in models.fields()}
        model, f = self._pick(
            models,
            lambda m, f: (
                not f.primary and f.uid not in referred and not _relations_by(models, m, f)
            ),
        )
        if f is None:
            return None
        model.fields.remove(f)
        for lists in (model.together, model.indexes):
            lists[:] = [uids for uids in lists if f.uid not in uids]
        return {"remove"}

    def remove_model(self, models: Models) -> set[str] | None:
        throughs = {f.through[0] for _, f in models.fields() if f.through}
        suits = [model for model in models.models if model.table not in throughs]
        if len(suits) < 2:
            return None
        model = self.one(suits)
        models.models.remove(model)
        for other in models.models:
            gone = {f.uid for f in other.fields if f.target == model.uid}
            other.fields = [f for f in other.fields if f.uid not in gone]
            for lists in (other.together, other.indexes):
                lists[:] = [uids for uids in lists if not gone & set(uids)]
        return {"remove"}

    def rename_model(self, models: Models) -> set[str]:
        model = self.one(models.models)
        model.name = self._name(MODELS, {m.name for m in models.all} | _tables(models))
        return {"rename"}

    def rename_field(self, models: Models) -> set[str] | None:
        model, f = self._pick(models, lambda _, f: True)
        used = {f.name for f in model.fields} | {f.column for f in model.fields}
        relations, old = _relations_by(models, model, f), f"{f.name}_id"
        f.name = self._name(FIELDS, used)
        for relation in relations:
            keys = [f"{f.name}_id" if key == old else key for key in relation.through]
            relation.through = tuple(keys)
        return {"rename"}

    def rename_primary_key(self, models: Models) -> set[str]:
        model = self.one(models.models)
        used = {f.name for f in model.fields}
        names = [name for name in ("id", "number", "serial") if name not in used]
        model.primary.name = self.one(names)
        return {"rename"}

    def set_table(self, models: Models) -> set[str] | None:
        model = self.one(models.models)
        if model.table in {f.through[0] for _, f in models.fields() if f.through}:
            return None
        table = f"{model.name.lower()[:40]}_rows"
        model.table = "" if model.table or table in _tables(models) else table
        return {"table"}

    def set_column(self, models: Models) -> set[str] | None:
        _model, f = self._pick(models, lambda _, f: not f.is_relation)
        f.column = "" if f.column else f"{f.name[:20]}_column"
        return {"rename"}

    def swap_fields(self, models: Models) -> set[str] | None:
        suits = [m for m in models.models if sum(_plain(f) for f in m.fields) > 1]
        if not suits:
            return None
        model = self.one(suits)
        fields = [f for f in model.fields if _plain(f)]
        first = self.one(fields)
        second = self.one([f for f in fields if f is not first])
        first.name, second.name = second.name, first.name
        first.column, second.column = second.column, first.column
        return {"swap"}

    def chain_fields(self, models: Models) -> set[str] | None:
        suits = [m for m in models.models if sum(_plain(f) for f in m.fields) > 1]
        if not suits:
            return None
        model = self.one(suits)
        fields = [f for f in model.fields if _plain(f)]
        first = self.one(fields)
        second = self.one([f for f in fields if f is not first])
        used = {f.name for f in model.fields} | {f.column for f in model.fields}
        first.name, second.name = second.name, self._name(FIELDS, used)
        first.column = second.column = ""
        return {"swap"}

    def swap_models(self, models: Models) -> set[str] | None:
        throughs = {f.through[0] for _, f in models.fields() if f.through}
        suits = [model for model in models.models if model.table not in throughs]
        if len(suits) < 2:
            return None
        first = self.one(suits)
        second = self.one([model for model in suits if model is not first])
        first.name, second.name = second.name, first.name
        first.table, second.table = second.table, first.table
        return {"swap"}

    def resize(self, models: Models) -> set[str] | None:
        _, f = self._pick(models, lambda _, f: f.kind in {"Char", "Decimal"})
        if f is None:
            return None
        old = f.size
        self._shape(f)
        _reset_default(f)
        wider = f.size[0] - sum(f.size[1:]) >= old[0] - sum(old[1:]) and f.size[1:] >= old[1:]
        return {"widen"} if wider else {"narrow"}

    def change_type(self, models: Models) -> set[str] | None:
        referred = {f.to_field for _, f in models.fields()}
        _, f = self._pick(models, lambda _, f: _plain(f) and f.uid not in referred)
        if f is None:
            return None
        old = f.kind
        f.kind = self.one(CONVERSIONS[old])
        self._shape(f)
        _reset_default(f)
        f.auto = ""
        f.unique = f.unique and f.kind in UNIQUE
        f.index = f.index and f.kind in INDEXED
        integers = ("SmallInt", "Int", "BigInt")
        if old in integers and f.kind in integers[integers.index(old) :]:
            return {"widen"}
        return {"convert"}

    def change_null(self, models: Models) -> set[str] | None:
        _, f = self._pick(
            models, lambda _, f: f.has_column and not f.primary and f.on_delete != "SET_NULL"
        )
        if f is None:
            return None
        f.null = not f.null
        if f.auto:
            f.auto = ""
        return {"nullable"} if f.null else {"not null"}

    def change_default(self, models: Models) -> set[str] | None:
        _, f = self._pick(models, lambda _, f: _plain(f) and not f.auto)
        if f is None:
            return None
        f.default = "" if f.default else self.one(values(f)[:3])
        return {"default"}

    def change_db_default(self, models: Models) -> set[str] | None:
        _, f = self._pick(models, lambda _, f: _plain(f) and f.kind in DB_DEFAULTS)
        if f is None or (f.kind == "Char" and f.size[0] < 4):
            return None
        f.db_default = "" if f.db_default else self.one(DB_DEFAULTS[f.kind])
        return {"default"}

    def change_unique(self, models: Models) -> set[str] | None:
        referred = {f.to_field for _, f in models.fields()}
        _, f = self._pick(
            models,
            lambda _, f: (
                _plain(f)
                and f.kind in UNIQUE
                and f.uid not in referred
                and unique_value(f, 1) is not None
            ),
        )
        if f is None:
            return None
        f.unique = not f.unique
        return {"unique"} if f.unique else {"not unique"}

    def change_index(self, models: Models) -> set[str] | None:
        _, f = self._pick(models, lambda _, f: _plain(f) and f.kind in INDEXED)
        if f is None:
            return None
        f.index = not f.index
        return {"index"}

    def _two_fields(self, model: Model) -> list[list[int]]:
        """Choose the fields of an index; none if the model has less than two."""
        fields = [f.uid for f in model.fields if _in_index(f)]
        if len(fields) < 2:
            return []
        first = self.one(fields)
        return [[first, self.one([uid for uid in fields if uid != first])]]

    def change_together(self, models: Models) -> set[str] | None:
        model = self.one(models.models)
        if model.together:
            model.together = []
            return {"not unique"}
        model.together = self._two_fields(model)
        return {"unique"} if model.together else None

    def change_indexes(self, models: Models) -> set[str] | None:
        model = self.one(models.models)
        if model.indexes:
            model.indexes = []
            return {"index"}
        model.indexes = self._two_fields(model)
        return {"index"} if model.indexes else None

    def change_description(self, models: Models) -> set[str] | None:
        _model, f = self._pick(models, lambda _, f: _plain(f))
        if f is None:
            return None
        f.description = "" if f.description else "what's in it; 'quoted' \\ \"twice\""
        return {"description"}

    def change_on_delete(self, models: Models) -> set[str] | None:
        _, f = self._pick(models, lambda _, f: f.is_relation and f.has_column)
        if f is None:
            return None
        choices = ["", "CASCADE", "RESTRICT", "NO_ACTION", *(["SET_NULL"] if f.null else [])]
        f.on_delete = self.one([choice for choice in choices if choice != f.on_delete])
        return {"on_delete"}

    def change_db_constraint(self, models: Models) -> set[str] | None:
        _, f = self._pick(models, lambda _, f: f.is_relation and f.has_column)
        if f is None:
            return None
        f.db_constraint = not f.db_constraint
        return {"on_delete"}

    def change_relation_kind(self, models: Models) -> set[str] | None:
        _, f = self._pick(models, lambda _, f: f.is_relation and f.has_column)
        if f is None:
            return None
        f.kind = "OneToOne" if f.kind == "ForeignKey" else "ForeignKey"
        return {"unique"} if f.kind == "OneToOne" else {"not unique"}

    def change_primary_key_type(self, models: Models) -> set[str]:
        model = self.one(models.models)
        key = model.primary
        old = key.kind
        if old == "Char":
            key.size = (40,) if key.size == (20,) else (20,)
            return {"widen"} if key.size == (40,) else {"narrow"}
        key.kind = self.one([k for k in ("SmallInt", "Int", "BigInt", "UUID") if k != old])
        key.generated = None
        integers = ("SmallInt", "Int", "BigInt")
        if old in integers and key.kind in integers[integers.index(old) :]:
            return {"widen"}
        return {"primary key"}

    def change_generated(self, models: Models) -> set[str] | None:
        suits = [m for m in models.models if m.primary.kind in {"Int", "BigInt", "SmallInt"}]
        if not suits:
            return None
        key = self.one(suits).primary
        key.generated = False if key.generated is None else None
        return {"primary key"}

    def natural_to_surrogate(self, models: Models) -> set[str] | None:
        suits = [m for m in models.models if m.primary.kind == "Char"]
        if not suits:
            return None
        model = self.one(suits)
        model.primary.unique, model.primary.primary = True, False
        model.fields.insert(0, Field(models.uid(), "id", self.one(("Int", "UUID")), primary=True))
        return {"primary key"}

    def automatic_to_through_model(self, models: Models) -> set[str] | None:
        model, f = self._pick(
            models, lambda m, f: f.kind == "ManyToMany" and not f.through and f.target != m.uid
        )
        if f is None:
            return None
        target = models.by_uid(f.target)
        assert target
        ends = (_table(model), _table(target))
        f.through = (f.links or "_".join(ends), f"{ends[0]}_id", f"{ends[1]}_id")
        f.links = ""
        uid = models.uid()
        through = Model(uid, f"Through{uid}", table=f.through[0])
        through.fields = [
            Field(models.uid(), "id", "Int", primary=True),
            Field(models.uid(), ends[0], "ForeignKey", target=model.uid),
            Field(models.uid(), ends[1], "ForeignKey", target=target.uid),
            Field(models.uid(), "remark", "Char", size=(20,), null=True),
        ]
        if self.maybe():
            through.together = [[through.fields[1].uid, through.fields[2].uid]]
        models.models.append(through)
        return {"through"}

    def set_links_table(self, models: Models) -> set[str] | None:
        _, f = self._pick(models, lambda _, f: f.kind == "ManyToMany" and not f.through)
        if f is None:
            return None
        f.links = "" if f.links else f"links_{f.uid}"
        return {"table"}

    def swap_links_tables(self, models: Models) -> set[str] | None:
        found = [f for _, f in models.fields() if f.links]
        if len(found) < 2:
            return None
        first = self.one(found)
        second = self.one([f for f in found if f is not first])
        first.links, second.links = second.links, first.links
        return {"swap"}

    def set_managed(self, models: Models) -> set[str] | None:
        related = {f.target for _, f in models.fields()}
        alone = [
            m
            for m in models.models
            if m.uid not in related and not any(f.is_relation for f in m.fields)
        ]
        suits = models.unmanaged + (alone if len(models.models) > 1 else [])
        if not suits:
            return None
        model = self.one(suits)
        old, new = models.unmanaged, models.models
        if model in new:
            old, new = new, old
        old.remove(model)
        new.append(model)
        return {"managed"}

    # rows

    def rows(self, models: Models, first: int) -> tuple[list[dict[str, Any]], list[Any]]:
        """Draw rows of all models, and links, as the worker inserts them."""
        self._used.clear()
        rows: list[dict[str, Any]] = []
        numbers: dict[int, list[int]] = {}
        throughs = {f.through[0] for _, f in models.fields() if f.through}
        waiting = [m for m in models.models if m.table not in throughs]
        while waiting:
            done = {m.uid for m in models.models} - {m.uid for m in waiting}
            ready = [m for m in waiting if _needs(m) <= done | {m.uid}] or waiting
            model = ready[0]
            waiting.remove(model)
            for _ in range(self.number(0, 3)):
                row = self._row(models, model, numbers, first + len(rows))
                if row:
                    numbers.setdefault(model.uid, []).append(row["number"])
                    rows.append(row)
        links = []
        for model, f in models.fields():
            others = numbers.get(f.target, [])
            if f.kind == "ManyToMany" and others:
                for number in numbers.get(model.uid, []):
                    links.append([number, f.name, others[: self.number(0, 2)]])
        return rows, links

    def _row(
        self, models: Models, model: Model, numbers: dict[int, list[int]], number: int
    ) -> dict[str, Any] | None:
        made: dict[str, str] = {}
        relations: dict[str, int] = {}
        together = {uid for uids in model.together for uid in uids}
        for f in model.fields:
            if f.is_relation:
                others = numbers.get(f.target, [])
                if f.kind == "OneToOne":
                    others = [n for n in others if n not in self._used.setdefault(f.uid, set())]
                if f.has_column and others and not (f.null and self.maybe(3)):
                    relations[f.name] = self.one(others)
                    self._used.setdefault(f.uid, set()).add(relations[f.name])
                elif f.has_column and not f.null:
                    return None
            elif f.primary and f.kind != "Char" and f.generated is not False:
                continue
            elif f.unique or f.primary or f.uid in together:
                value = unique_value(f, number)
                if value is None:
                    return None
                made[f.name] = value
            elif f.null and self.maybe(3):
                made[f.name] = "None"
            elif f.auto or ((f.default or f.db_default) and self.maybe(4)):
                continue
            else:
                made[f.name] = self.one(values(f))
        if not made and not relations:
            return None  # Tortoise's INSERT without values fails on MySQL
        return {"number": number, "model": model.name, "values": made, "relations": relations}


def _needs(model: Model) -> set[int]:
    return {f.target for f in model.fields if f.is_relation and f.has_column and not f.null}


def _relations_by(models: Models, model: Model, field: Field) -> list[Field]:
    """List the many-to-many relations that a foreign key of a through model is a key of."""
    return [
        relation
        for _, relation in models.fields()
        if relation.through[:1] == (model.table,) and f"{field.name}_id" in relation.through[1:]
    ]


def _plain(f: Field) -> bool:
    return not f.is_relation and not f.primary


def _in_index(f: Field) -> bool:
    sized = f.kind != "Char" or f.size[0] <= 255
    return (_plain(f) and f.kind in INDEXED and sized) or (f.is_relation and f.has_column)


def _table(model: Model) -> str:
    return model.table or model.name.lower()


def _tables(models: Models) -> set[str]:
    return {_table(model) for model in models.all}


def _reset_default(f: Field) -> None:
    """Replace a default that does not suit a changed type."""
    if f.default:
        f.default = values(f)[0]
    if f.db_default:
        suits = f.kind in DB_DEFAULTS and (f.kind != "Char" or f.size[0] >= 4)
        f.db_default = DB_DEFAULTS[f.kind][0] if suits else ""


CHANGES = (
    "add_field",
    "add_model",
    "add_relation",
    "automatic_to_through_model",
    "chain_fields",
    "change_db_constraint",
    "change_db_default",
    "change_default",
    "change_description",
    "change_generated",
    "change_index",
    "change_indexes",
    "change_null",
    "change_on_delete",
    "change_primary_key_type",
    "change_relation_kind",
    "change_together",
    "change_type",
    "change_unique",
    "natural_to_surrogate",
    "remove_field",
    "remove_model",
    "rename_field",
    "rename_model",
    "rename_primary_key",
    "resize",
    "set_column",
    "set_links_table",
    "set_managed",
    "set_table",
    "swap_fields",
    "swap_links_tables",
    "swap_models",
)
