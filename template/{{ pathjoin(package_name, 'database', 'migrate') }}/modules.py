"""Find the models in the service's modules, without importing them."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MODEL = ("tortoise.models", "Model")
ALIASES = {("tortoise", "Model"), MODEL}

Name = tuple[str, str]  # the module and the name of a class


class Class(NamedTuple):
    """A class in a module: what it inherits from, and whether it is abstract."""

    bases: list[Name]
    abstract: bool


def models_in(package: Path) -> list[Name]:
    """List the models that a package's modules define, by module and name.

    Args:
        package: the package's folder.
    """
    classes: dict[Name, Class] = {}
    for path in sorted(package.rglob("*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        parts = path.relative_to(package.parent).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        if "class " in text:
            classes |= _classes(text, module, is_package=is_package)
    return sorted(
        name for name, found in classes.items() if not found.abstract and _is_model(name, classes)
    )


def _classes(text: str, module: str, *, is_package: bool) -> dict[Name, Class]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return {}
    imported = dict(_imported(tree, module, is_package=is_package))
    return {
        (module, node.name): Class(
            [base for expression in node.bases if (base := _base(expression, module, imported))],
            _is_abstract(node),
        )
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }


def _imported(tree: ast.Module, module: str, *, is_package: bool) -> Iterator[tuple[str, Name]]:
    """Map each imported name of a module to its module and name; no name for a module."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                yield alias.asname or whole, (whole, "")
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                above = module.split(".")
                above = above[: len(above) - node.level + is_package]
                source = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                yield alias.asname or alias.name, (source, alias.name)


def _base(expression: ast.expr, module: str, imported: dict[str, Name]) -> Name | None:
    first, *rest = ast.unparse(expression).split(".")
    source, name = imported.get(first, (module, first))
    path = [part for part in (source, name, *rest) if part]
    return (".".join(path[:-1]), path[-1]) if len(path) > 1 else None


def _is_abstract(node: ast.ClassDef) -> bool:
    return any(
        isinstance(part, ast.Assign)
        and isinstance(part.value, ast.Constant)
        and part.value.value is True
        and any(isinstance(target, ast.Name) and target.id == "abstract" for target in part.targets)
        for inner in node.body
        if isinstance(inner, ast.ClassDef) and inner.name == "Meta"
        for part in inner.body
    )


def _is_model(name: Name, classes: dict[Name, Class], seen: frozenset[Name] = frozenset()) -> bool:
    if name in ALIASES:
        return True
    if name in seen or name not in classes:
        return False
    return any(_is_model(base, classes, seen | {name}) for base in classes[name].bases)
