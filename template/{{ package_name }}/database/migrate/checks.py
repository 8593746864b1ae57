"""Are the migration files, the models and a database sound? Each problem is a line with its fix."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from tortoise import Model, Tortoise
from tortoise.fields.relational import ManyToManyFieldInstance
from tortoise.indexes import Index

from .context import (
    APP,
    COMMAND,
    CONFIG,
    DATABASE_URL_EXAMPLE,
    FOLDER,
    OTHER_ENGINES,
    PACKAGE,
    configuration,
    connected,
    dialect,
)
from .errors import MigrationError
from .files import NAME, Migration, migrations
from .modules import models_in
from .recorder import State


def folder_problems() -> list[str]:
    """Say what is wrong with the files' names and numbers."""
    files = migrations()
    known = {migration.name for migration in files} | {"__init__.py"}
    problems = [
        f"{path.name}: Aerich ignores this name; use number_name.py, with no dot before .py"
        for path in sorted(FOLDER.glob("*.py"))
        if path.name not in known
    ]
    numbers = Counter(migration.number for migration in files)
    for same in (same for same, count in numbers.items() if count > 1):
        names = [migration.name for migration in files if migration.number == same]
        problems.append(
            f"{' and '.join(names)} have the same number: run `{COMMAND} renumber {names[-1]}`"
            " to put it last, if it is not released yet"
        )
    first = files[0].number if files and files[0].replaces else 0
    if missing := set(range(first, max(numbers, default=0))) - numbers.keys():
        problems.append(f"Number {min(missing)} is missing: restore its file from version control")
    return problems if files else [*problems, f"There is no migration in {FOLDER}"]


def content_problems(files: Iterable[Migration]) -> list[str]:
    """Say what is wrong inside the files."""
    problems = []
    for migration in files:
        try:
            state = migration.models_state
        except Exception as error:  # noqa: BLE001 - whatever a file's code or state raises
            problems.append(f"{migration.name} cannot be read: {type(error).__name__}: {error}")
            continue
        if not state:
            problems.append(
                f"{migration.name} has no MODELS_STATE: `aerich fix-migrations` adds it where the "
                f"migration is applied; elsewhere delete the file and write it again"
            )
        if found := OTHER_ENGINES.search(migration.text):
            problems.append(
                f"{migration.name} is written for another database ({found[0].strip()}): delete "
                "the file and write it again"
            )
    return problems


def unfinished_problems(files: Iterable[Migration]) -> list[str]:
    """Say which files must not be applied yet."""
    problems = []
    for migration in files:
        if (message := migration.function("upgrade").raises) is not None:
            problems.append(f"{migration.name} is unfinished: {message}")
        elif migration.unverified:
            problems.append(
                f"{migration.name} is not verified: fix it, or delete its line UNVERIFIED once you "
                f"have checked it. Verification said: {' '.join(migration.unverified.split())}"
            )
    return problems


def irreversible(migration: Migration) -> str | None:
    """Say why a migration cannot be reverted, or nothing if it can."""
    function = migration.function("downgrade")
    if function.raises is not None:
        return f"{migration.name} cannot be reverted: {function.raises}"
    if function.empty:
        return f"{migration.name} cannot be reverted: its downgrade() is empty"
    return None


def database_problems(state: State) -> list[str]:
    """Say where a database and the files contradict each other."""
    problems = [
        f"{version} is recorded {count} times: delete all its rows but one from the table aerich"
        for version, count in Counter(state.applied).items()
        if count > 1
    ]
    files = migrations()
    for version in dict.fromkeys(state.unknown):
        fix = "restore its file from version control"
        if (match := NAME.fullmatch(version)) and int(match[1]) > files[-1].number:
            fix = "a newer release applied it: run that release, or a later one"
        problems.append(f"{version} is applied, but its file is missing: {fix}")
    if state.pending and (lacking := not_replaced(state, state.pending[0])):
        problems.append(
            f"{state.pending[0].name} replaces migrations that this database lacks: check out the "
            f"commit before it, run `{COMMAND} upgrade` there, then come back. It lacks "
            f"{', '.join(lacking)}"
        )
    applied = [migration for migration in files if migration.name in state.applied]
    problems.extend(
        f"{migration.name} is not applied, but the newer {applied[-1].name} is: "
        f"run `{COMMAND} renumber {migration.name}` to put it last"
        for migration in state.pending
        if applied and migration.number < applied[-1].number
    )
    return problems


def not_replaced(state: State, squashed: Migration) -> list[str]:
    """List the migrations that a squashed one replaces and a database lacks; none on a new one."""
    known = set(state.applied)
    return [name for name in squashed.replaces if name not in known] if known else []


def is_replaced(state: State, squashed: Migration) -> bool:
    """Tell whether a database has all that a squashed migration replaces."""
    return bool(squashed.replaces) and set(squashed.replaces) <= set(state.applied)


async def models_problems() -> list[str]:
    """Say what is wrong with the models, and what migrations do not support in them."""
    os.environ.setdefault("DATABASE_URL", DATABASE_URL_EXAMPLE)  # nothing connects to it
    try:
        async with connected():
            return loaded_models_problems()
    except MigrationError as error:
        return [str(error)]


def refuse_models() -> None:
    """Raise MigrationError for what `models_problems` finds in the models that are loaded."""
    if problems := loaded_models_problems():
        raise MigrationError("\n".join(problems))


def loaded_models_problems() -> list[str]:
    """Do the same as `models_problems` with the models that are loaded."""
    models = list(Tortoise.apps[APP].values()) if APP in Tortoise.apps else []
    return [
        *_apps_problems(),
        *_unlisted_problems(),
        *_rival_problems(),
        *(problem for model in models for problem in _model_problems(model)),
        *_name_problems(models),
    ]


def _apps_problems() -> Iterator[str]:
    apps = configuration()["apps"]
    if APP not in apps:
        yield f"{CONFIG.name}: add the app {APP!r} to TORTOISE_ORM: migrations support it alone"
    elif "aerich.models" not in apps[APP]["models"]:
        yield f"{CONFIG.name}: add 'aerich.models' to the modules of the app {APP!r}"
    for app in apps:
        if app != APP:
            yield (
                f"{CONFIG.name}: move the modules of the app {app!r} to MODELS: migrations support "
                f"the app {APP!r} alone"
            )


def _unlisted_problems() -> Iterator[str]:
    loaded = {
        (model.__module__, model.__name__)
        for app in Tortoise.apps.values()
        for model in app.values()
    }
    for module, name in models_in(PACKAGE):
        if (module, name) not in loaded:
            yield f"{CONFIG.name}: add {module!r} to MODELS, which lacks its model {name}"


def _rival_problems() -> Iterator[str]:
    """Find migrations of Tortoise, which keeps them in a package beside the models."""
    for module in configuration()["apps"].get(APP, {}).get("models", []):
        parts = str(module).removesuffix(".models").split(".")
        folder = PACKAGE.parent.joinpath(*parts, "migrations")
        if (folder / "__init__.py").exists() and "aerich" not in parts:
            place = folder.relative_to(PACKAGE.parent).as_posix()
            yield (
                f"{place} has migrations of the `tortoise` command: delete it, and run "
                f"`{COMMAND} new NAME`. This service uses Aerich's, in migrations/{APP}"
            )


def _model_problems(model: type[Model]) -> Iterator[str]:
    name, meta = model.__name__, model._meta
    if meta.schema:
        yield f"{name}: remove Meta.schema: migrations use the schema of the connection alone"
    if getattr(meta, "constraints", None):
        yield f"{name}: remove Meta.constraints, and write their SQL in a migration by hand"
    together = [field for fields in meta.unique_together for field in fields]
    indexed = [
        field
        for index in meta.indexes
        for field in (index.fields if isinstance(index, Index) else index)
    ]
    for field in dict.fromkeys([*together, *indexed]):
        if field not in meta.fields_map:
            yield f"{name}: Meta.unique_together or Meta.indexes has {field!r}, which is no field"
    for field in (*meta.fk_fields, *meta.o2o_fields, *meta.m2m_fields):
        target: Any = meta.fields_map[field]
        app = target.related_model._meta.app
        if app != APP:
            yield f"{name}.{field} refers to the app {app!r}: use models of the app {APP!r} alone"


def _name_problems(models: list[type[Model]]) -> Iterator[str]:
    """Find names that are used twice, or that the server cuts to the same name."""
    tables = [(model._meta.db_table, f"the model {model.__name__}") for model in models]
    yield from _same_names(tables, "set another Meta.table")
    links: dict[str, list[str]] = {}
    for model in models:
        for name in sorted(model._meta.m2m_fields):
            field = model._meta.fields_map[name]
            if isinstance(field, ManyToManyFieldInstance) and not field._generated:
                links.setdefault(field.through, []).append(f"{model.__name__}.{name}")
        columns = [
            (c, f"{model.__name__}.{f}") for f, c in model._meta.fields_db_projection.items()
        ]
        yield from _same_names(columns, "set another source_field")
    through = [
        (table, f"the relation {relation}")
        for table, relations in links.items()
        if table not in dict(tables)  # that of a through model
        for relation in relations
    ]
    yield from _same_names([*tables, *through], "set another `through`", len(tables))
    yield from _same_names(
        [
            (index.name, f"an index of {model.__name__}")
            for model in models
            for index in model._meta.indexes
            if isinstance(index, Index) and index.name
        ],
        "rename the index",
    )


def _same_names(named: list[tuple[str, str]], fix: str, start: int = 0) -> Iterator[str]:
    """Find names that the server takes for one that comes before them.

    Args:
        named: names, each with what has it.
        fix: what to do about the second one.
        start: how many were looked at before.
    """
    seen: dict[str, tuple[str, str]] = {}
    for number, (name, owner) in enumerate(named):
        key = dialect.folded(name)
        if key in seen and number >= start:
            other, first = seen[key]
            same = f"{name!r} too" if name == other else f"{other!r}, which the server takes for it"
            yield f"{owner}: {fix}, since {first} uses {same}"
        seen.setdefault(key, (name, owner))
