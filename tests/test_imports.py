"""No module of the migration package imports itself through others."""

from pathlib import Path

import pytest

from tools.render import ENGINES, render

from .support.imports import cycles, graph


def write(folder: Path, **modules: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "__init__.py").touch()
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "text",
    [
        "from .b import x",
        "from . import b",
        "import p.b",
        "from p import b",
        "from p.b import x",
        "def f():\n    from .b import x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .b import x",
    ],
)
def test_finds_cycles(tmp_path: Path, text: str) -> None:
    package = write(tmp_path / "p", a=text, b="from .c import x", c="from . import a", d="import a")

    assert cycles(graph(package, "p")) == [["p.a", "p.b", "p.c"]]


def test_finds_none_where_none_is(tmp_path: Path) -> None:
    package = write(tmp_path / "p", a="from .b import x", b="import os", c="from . import a, b")

    assert cycles(graph(package, "p")) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_migration_package_has_no_cycle(engine: str, template: Path, tmp_path: Path) -> None:
    folder = render(template, tmp_path / "service", {"database": engine})
    imports = graph(folder / "src/database/migrate", "src.database.migrate")

    assert len(imports) > 10
    assert cycles(imports) == []
