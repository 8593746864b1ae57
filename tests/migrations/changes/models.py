"""Models as data, and the source text that a user would have written for them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

RELATIONS = ("ForeignKey", "OneToOne", "ManyToMany")
SIZED = {"Char": "max_length={}", "Decimal": "max_digits={}, decimal_places={}"}
CLASSES = {
    "Boolean": "fields.BooleanField",
    "CharEnum": "fields.CharEnumField",
    "IntEnum": "fields.IntEnumField",
    "Array": "ArrayField",
}

HEADER = """\
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum

from tortoise import fields
from tortoise.fields.db_defaults import Now
from tortoise.indexes import Index
from tortoise.models import Model
"""

POSTGRESQL = "from tortoise.contrib.postgres.fields import ArrayField\n"

DEFINITIONS = """

class Colour(str, Enum):
    red = "red"
    blue = "it's blue"


class Plain(Enum):
    one = "one"
    other = "ötzi"


class Size(IntEnum):
    small = 1
    large = 32767


def made() -> str:
    return "made"
"""


@dataclass
class Field:
    """A field or a relation.

    Attributes:
        uid: what stays the same when it is renamed.
        kind: the field class's name without `Field`.
        size: `max_length`, or `max_digits` and `decimal_places`.
        argument: the enum class, or the type of an array's elements.
        default: the default's source text.
        db_default: the same of the database's default.
        auto: `auto_now` or `auto_now_add`.
        column: `source_field`, if it is not the name.
        target: the related model's uid.
        to_field: the uid of the field that a foreign key refers to, if it is not the primary key.
        through: the table of a many-to-many relation's own model, and its two columns.
        links: the table of a many-to-many relation without such a model, if it is named.
    """

    uid: int
    name: str
    kind: str
    size: tuple[int, ...] = ()
    argument: str = ""
    null: bool = False
    default: str = ""
    db_default: str = ""
    unique: bool = False
    index: bool = False
    primary: bool = False
    generated: bool | None = None
    description: str = ""
    auto: str = ""
    column: str = ""
    target: int = 0
    to_field: int = 0
    on_delete: str = ""
    db_constraint: bool = True
    through: tuple[str, ...] = ()
    links: str = ""

    @property
    def is_relation(self) -> bool:
        return self.kind in RELATIONS

    @property
    def has_column(self) -> bool:
        return self.kind != "ManyToMany"


@dataclass
class Model:
    uid: int
    name: str
    fields: list[Field] = field(default_factory=list)
    table: str = ""
    description: str = ""
    together: list[list[int]] = field(default_factory=list)
    indexes: list[list[int]] = field(default_factory=list)

    @property
    def primary(self) -> Field:
        return next(f for f in self.fields if f.primary)

    def by_uid(self, uid: int) -> Field | None:
        return next((f for f in self.fields if f.uid == uid), None)


@dataclass
class Models:
    """All models of a service, and the last uid that was used.

    Attributes:
        models: the models whose tables the migrations create.
        unmanaged: the models with `managed = False`. Their tables stay as they are.
    """

    models: list[Model] = field(default_factory=list)
    unmanaged: list[Model] = field(default_factory=list)
    last: int = 0

    @property
    def all(self) -> list[Model]:
        return [*self.models, *self.unmanaged]

    def uid(self) -> int:
        self.last += 1
        return self.last

    def by_uid(self, uid: int) -> Model | None:
        return next((model for model in self.all if model.uid == uid), None)

    def fields(self) -> Iterator[tuple[Model, Field]]:
        for model in self.models:
            for f in model.fields:
                yield model, f

    def source(self, engine: str) -> str:
        """Write the module of models."""
        imports = POSTGRESQL if engine == "postgresql" else ""
        head = HEADER.replace("from tortoise.fields.db", imports + "from tortoise.fields.db")
        return head + DEFINITIONS + "".join(self._model(model) for model in self.all)

    def _model(self, model: Model) -> str:
        lines = [f"\n\nclass {model.name}(Model):"]
        lines += [f"    {f.name} = {self._field(f)}" for f in model.fields]
        meta = ["managed = False"] if model in self.unmanaged else []
        if model.table:
            meta.append(f"table = {model.table!r}")
        if model.description:
            meta.append(f"table_description = {model.description!r}")
        names = {f.uid: f.name for f in model.fields}
        if model.together:
            together = tuple(tuple(names[uid] for uid in uids) for uids in model.together)
            meta.append(f"unique_together = {together!r}")
        if model.indexes:
            indexes = [f"Index(fields={tuple(names[u] for u in uids)!r})" for uids in model.indexes]
            meta.append(f"indexes = [{', '.join(indexes)}]")
        if meta:
            lines += ["", "    class Meta:", *(f"        {line}" for line in meta)]
        return "\n".join(lines) + "\n"

    def _field(self, f: Field) -> str:
        options = []
        if f.is_relation:
            target = self.by_uid(f.target)
            assert target
            options.append(f'"models.{target.name}"')
            options.append(f'related_name="related_{f.uid}"')
            to_field = target.by_uid(f.to_field)
            if to_field:
                options.append(f"to_field={to_field.name!r}")
            if f.on_delete:
                options.append(f"on_delete=fields.{f.on_delete}")
            if not f.db_constraint:
                options.append("db_constraint=False")
            for keyword, text in zip(
                ("through", "backward_key", "forward_key"), f.through, strict=False
            ):
                options.append(f"{keyword}={text!r}")
            if f.links:
                options.append(f"through={f.links!r}")
        elif f.argument:
            options.append(f'"{f.argument}"' if f.kind == "Array" else f.argument)
        if f.size:
            options.append(SIZED.get(f.kind, "max_length={}").format(*f.size))
        for name in ("null", "unique"):
            if getattr(f, name):
                options.append(f"{name}=True")
        if f.index:
            options.append("db_index=True")
        if f.primary:
            options.append("primary_key=True")
        if f.generated is not None:
            options.append(f"generated={f.generated}")
        if f.auto:
            options.append(f"{f.auto}=True")
        if f.default:
            options.append(f"default={f.default}")
        if f.db_default:
            options.append(f"db_default={f.db_default}")
        if f.column:
            options.append(f"source_field={f.column!r}")
        if f.description:
            options.append(f"description={f.description!r}")
        return f"{CLASSES.get(f.kind, f'fields.{f.kind}Field')}({', '.join(options)})"
