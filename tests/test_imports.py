"""No module imports itself through others, and no test imports another test."""

from pathlib import Path

import pytest

from tools.render import ENGINES, REPOSITORY, Answers, render

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


@pytest.mark.parametrize("accounts", [True, False], ids=["accounts", "plain"])
@pytest.mark.parametrize("engine", ENGINES)
def test_service_has_no_cycle(
    engine: str, *, accounts: bool, template: Path, tmp_path: Path
) -> None:
    """With every option: without one, the modules and imports are a part of these."""
    answers: Answers = {
        "database": engine,
        "accounts": accounts,
        "jobs": "postgresql" if engine == "postgresql" else "redis",
        "observability": True,
        "sentry": True,
    }
    folder = render(template, tmp_path / "service", answers)
    imports = graph(folder / "src", "src")

    assert {"src.main", "src.telemetry", "src.database.migrate.executor"} <= imports.keys()
    assert cycles(imports) == []


def test_auth_does_not_import_users(template: Path, tmp_path: Path) -> None:
    folder = render(template, tmp_path / "service")
    imports = graph(folder / "src", "src")

    found = {name: imports[name] for name in imports if name.startswith("src.auth.")}
    assert len(found) > 10
    assert not [name for name in found for other in found[name] if other.startswith("src.users")]


def test_tests_have_no_cycle() -> None:
    assert cycles(graph(REPOSITORY / "tests", "tests")) == []


def test_no_test_imports_another_test() -> None:
    imports = graph(REPOSITORY / "tests", "tests")

    assert "tests.support.imports" in imports["tests.test_imports"]
    assert not [
        f"{name} imports {other}"
        for name in imports
        for other in imports[name]
        if other.rpartition(".")[2].startswith("test_")
    ]
