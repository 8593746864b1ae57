"""The imports between the modules of a package, whether they run or are for types alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

Graph = dict[str, set[str]]


def graph(root: Path, package: str) -> Graph:
    """Read which modules of a package import which others, anywhere in their code.

    Args:
        root: the package's folder.
        package: the package's name, such as `src.database.migrate`.
    """
    modules = dict(_modules(root, package))
    return {
        name: {found for found in _imported(path, name, modules) if found != name}
        for name, path in modules.items()
    }


def cycles(imports: Graph) -> list[list[str]]:
    """List the groups of modules that import each other, directly or through others."""
    reached = {module: _reachable(module, imports) for module in imports}
    groups = {
        frozenset(other for other in reached[module] if module in reached[other])
        for module in imports
        if module in reached[module]
    }
    return sorted(sorted(group) for group in groups)


def _modules(root: Path, package: str) -> Iterator[tuple[str, Path]]:
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        yield ".".join([package, *(part for part in parts if part != "__init__")]), path


def _imported(path: Path, module: str, modules: dict[str, Path]) -> Iterator[str]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            yield from (name for name in names if name in modules)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")
            above = above[: len(above) - node.level + 1] if node.level else []
            source = ".".join([*above, *filter(None, [node.module])])
            names = [f"{source}.{alias.name}" for alias in node.names]
            submodules = [name for name in names if name in modules]
            yield from submodules
            if len(submodules) < len(names) and source in modules:
                yield source


def _reachable(module: str, imports: Graph) -> set[str]:
    seen: set[str] = set()
    waiting = list(imports[module])
    while waiting:
        if (name := waiting.pop()) not in seen:
            seen.add(name)
            waiting += imports[name]
    return seen
