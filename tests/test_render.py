"""What every render has in common, whatever the answers."""

import ast
import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from statistics import median

import pytest

from tools.render import ENGINES, REPOSITORY, Answers, render

from .support.answers import NAMES

WORDS = {
    "sqlite": ("sqlite",),
    "postgresql": ("postgres", "asyncpg", "psycopg"),
    "mysql": ("mysql", "mariadb", "asyncmy"),
}
LICENSES = {
    "MIT": "Permission is hereby granted, free of charge",
    "Apache-2.0": "Apache License",
    "BSD-3-Clause": "Redistribution and use in source and binary forms",
    "proprietary": "All rights reserved.",
}
OPTIONS: dict[str, list[str | bool]] = {
    "accounts": [True, False],
    "container": [True, False],
    "ci": ["github", "gitlab", "none"],
}
CHOSEN: list[Answers] = [
    {"license": "MIT", **dict(zip(OPTIONS, values, strict=True))}
    for values in itertools.product(*OPTIONS.values())
]
OBSERVED: Answers = {"license": "MIT", "observability": True}
DEVELOPED: Answers = {"license": "MIT", "devcontainer": True, "container": False}
KUBERNETES: Answers = {"license": "MIT", "deployment": "kubernetes"}
REPORTED: Answers = {"license": "MIT", "sentry": True}
JOBS: Answers = {"license": "MIT", "database": "postgresql", "jobs": "postgresql"}
REDIS_JOBS: Answers = {"license": "MIT", "jobs": "redis"}
COMBINATIONS: list[Answers] = [
    *(
        {"database": engine, "license": license_, **names}
        for (engine, names), license_ in zip(
            itertools.product(ENGINES, NAMES), itertools.cycle(LICENSES), strict=False
        )
    ),
    *({"database": engine, **chosen} for engine, chosen in itertools.product(ENGINES, CHOSEN)),
    *(
        {**OBSERVED, "database": engine, "accounts": accounts, "container": False, "ci": "none"}
        for engine, accounts in itertools.product(ENGINES, (True, False))
    ),
    *({**DEVELOPED, "database": engine} for engine in ENGINES),
    {**KUBERNETES, **OBSERVED, "database": "postgresql", "devcontainer": True, **NAMES[2]},
    *({**KUBERNETES, "database": "postgresql", "accounts": accounts} for accounts in (True, False)),
    {**KUBERNETES, "database": "mysql"},
    *({**JOBS, "accounts": accounts, **names} for accounts in (True, False) for names in NAMES[:2]),
    {**JOBS, **KUBERNETES, **OBSERVED, "devcontainer": True},
    *(
        {**REPORTED, "database": engine, "accounts": accounts}
        for engine, accounts in itertools.product(ENGINES, (True, False))
    ),
    {**JOBS, **KUBERNETES, **OBSERVED, **REPORTED, **NAMES[1]},
    {**REDIS_JOBS, **OBSERVED, **REPORTED, "database": "sqlite", "devcontainer": True},
    {**REDIS_JOBS, **NAMES[1], "database": "postgresql", "accounts": False},
    {**REDIS_JOBS, **KUBERNETES, **NAMES[2], "database": "mysql", "devcontainer": True},
]
# What the migration package may do beside the service's own rules
PACKAGE_IGNORES = (
    "ARG002",  # an engine needs no more than others of what the protocol passes
    "PLC0415",  # a command imports what it needs: `check` does without the settings
    "S608",  # it writes SQL, of names from the models
    "SLF001",  # it names parts of tables as Tortoise does
)
PACKAGE = "/database/migrate/"
# What a service has by default, beside that package
MOST_FILES = 74
MOST_LINES = {"sqlite": 5026, "postgresql": 5266, "mysql": 5215}  # non-blank
WINDOWS_DEVICES = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{d}{n}" for d in ("com", "lpt") for n in range(10)),
}

Rendered = Callable[[Answers], Path]


@pytest.fixture(scope="session")
def rendered(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """Render each combination of answers once, for all processes that run tests."""
    run = tmp_path_factory.getbasetemp()
    shared = run.parent if "PYTEST_XDIST_WORKER" in os.environ else run

    def get(answers: Answers) -> Path:
        folder = shared / "rendered" / sha256(repr(answers).encode()).hexdigest()
        if not folder.exists():
            whole = render(template, tmp_path_factory.mktemp("render") / "service", answers)
            folder.parent.mkdir(exist_ok=True)
            with suppress(OSError):  # another process was faster
                whole.rename(folder)
        return folder

    return get


@pytest.fixture(
    params=COMBINATIONS, ids=lambda answers: "-".join(str(v)[:10] for v in answers.values())
)
def answers(request: pytest.FixtureRequest) -> Answers:
    combination: Answers = request.param
    return combination


def texts(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8")
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_looks_handwritten(answers: Answers, rendered: Rendered) -> None:
    for path, text in texts(rendered(answers)).items():
        if path != "LICENSE":
            text = text.replace("${{", "")  # GitHub's own
        if path.startswith("observability/"):
            # Prometheus's and Grafana's own
            text = re.sub(r"\{\{ ?[$a-z| ]+[.a-zA-Z| ]*\}\}", "", text)
        if path != "LICENSE" and PACKAGE not in path:  # the package's files are copied as they are
            assert not re.search(r"\{\{|\{%|\{#|%\}|jinja", text), f"{path}: leftover Jinja"
        assert not re.search(r"\n\n\n\n|\A\n|\n\n\Z", text), f"{path}: blank lines"
        assert not re.search(r"[ \t]+$", text, re.MULTILINE), f"{path}: trailing space"
        assert text.endswith("\n") or not text, f"{path}: no newline at the end"
        if not path.endswith(".py"):
            text = re.sub(r"^```python$.*?^```$", "code", text, flags=re.MULTILINE | re.DOTALL)
            assert "\n\n\n" not in text or path == "LICENSE", f"{path}: two blank lines"
        if path.endswith(".md"):
            prose = re.sub(r"^```.*?^```$|`[^`]*`", "", text, flags=re.MULTILINE | re.DOTALL)
            assert not re.search(r"\w[.:][A-Z]\w* ", prose), f"{path}: sentences without a space"
        assert path.isascii()
        for part in path.split("/"):
            assert not re.search(r'[<>:"\\|?*]|[ .]$', part), f"{path}: not legal on Windows"
            assert part.split(".")[0].lower() not in WINDOWS_DEVICES


def test_mentions_no_other_engine(answers: Answers, rendered: Rendered) -> None:
    others = [word for engine in ENGINES if engine != answers["database"] for word in WORDS[engine]]

    for path, text in texts(rendered(answers)).items():
        if path == "docs/migrations.md":  # tells teams how to grow out of SQLite
            text = re.sub(r"^## Move to PostgreSQL$.*", "", text, flags=re.MULTILINE | re.DOTALL)
        for word in others:
            assert word not in path.lower()
            # the migration package is one library for all engines, with one engine's modules
            assert PACKAGE in path or word not in text.lower(), f"{path} mentions {word}"


def test_runs_migrations_by_one_name(answers: Answers, rendered: Rendered) -> None:
    for path, text in texts(rendered(answers)).items():
        if path == ".gitlab-ci.yml":
            # teams add steps before this line, and a change of it would conflict with theirs
            text = re.sub(r"- uv run python -m \w+\.database\.migrate check\n", "", text)
        if path.endswith((".yml", ".yaml", ".json", ".md")) or path.startswith("tests/"):
            assert not re.search(r"\w\.database\.migrate\b(?!\.)", text), path


def test_is_lint_and_format_clean(answers: Answers, rendered: Rendered) -> None:
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        process = subprocess.run(
            [sys.executable, "-m", "ruff", *command],
            cwd=rendered(answers),
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stdout


@pytest.mark.parametrize("engine", ENGINES)
def test_migration_package_is_lint_and_format_clean(engine: str, rendered: Rendered) -> None:
    """The service leaves the package to this repository, which has the same rules for it."""
    folder = rendered({"database": engine, "license": "MIT"})
    for command in (["check", "--extend-ignore", ",".join(PACKAGE_IGNORES)], ["format", "--check"]):
        process = subprocess.run(
            [
                *(sys.executable, "-m", "ruff", *command, "--no-cache"),
                *("--config", 'extend-exclude = ["migrations"]', "src/database/migrate"),
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        assert "No Python files" not in process.stderr


def test_has_the_licence_that_was_chosen(answers: Answers, rendered: Rendered) -> None:
    text = (rendered(answers) / "LICENSE").read_text(encoding="utf-8")

    assert LICENSES[str(answers["license"])] in text
    assert str(answers.get("author_name", " authors")) in text


def test_readme_shows_the_names_as_they_are(rendered: Rendered) -> None:
    readme = (rendered(COMBINATIONS[1]) / "README.md").read_text(encoding="utf-8")

    assert readme.startswith("# Überraschung \\& Söhne' \\*Laden\\*\n")
    assert "It's 100 % \\<fast\\> \\| \\#1: \\_really\\_\n" in readme


def test_is_format_clean_at_every_length(template: Path, tmp_path: Path) -> None:
    """Long names are where a formatter would break lines."""
    for length in (*range(60, 100, 3), 100):
        answers = {"project_name": "x" * length, "project_description": "日" * (length // 2)}
        folder = render(template, tmp_path / str(length), answers)
        (folder / "pyproject.toml").unlink()
        shutil.rmtree(folder / "src/database/migrate")  # the same for all names
    command = [sys.executable, "-m", "ruff", "format", "--no-cache", "--line-length=100", "--check"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert process.returncode == 0, process.stdout


def test_packages_are_separate_folders_of_the_template() -> None:
    """An update renders each part of each path in three renders, with two templates."""
    package = REPOSITORY / "template" / "{{ package_name }}"

    assert {file.name for file in package.iterdir() if file.is_dir()} <= {"__pycache__"}


@pytest.mark.parametrize("engine", ENGINES)
def test_has_the_promised_paths(engine: str, rendered: Rendered) -> None:
    folder = rendered({"database": engine, "license": "MIT"})

    for path in (
        *("src/main.py", "src/database/config.py", "src/database/models.py", "aerich.ini"),
        *("pyproject.toml", ".copier-answers.yml", ".env.example", "README.md", "LICENSE"),
        "tests",
    ):
        assert (folder / path).exists(), path
    assert len(list((folder / "migrations/models").glob("0_*_init.py"))) == 1
    assert not list(folder.rglob("uv.lock"))


def as_text(value: object) -> str:
    """Return a value as `.env` spells it, like the service's own function."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def setting_fields(package: Path) -> dict[str, tuple[str, str]]:
    """Read the settings in a package's source.

    Returns:
        The meaning and the default of each, as docs/configuration.md shows them.
    """
    fields = {}
    for file in (package / "environment.py", *package.rglob("settings.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call):
                keywords = {keyword.arg: keyword.value for keyword in node.value.keywords}
                secret = keywords.get("default")
                if isinstance(secret, ast.Call) and ast.unparse(secret.func) == "SecretStr":
                    (keywords["default"],) = secret.args
                values = {
                    name: as_text(value.value)
                    for name, value in keywords.items()
                    if isinstance(value, ast.Constant)
                }
                default = f"`{values['default']}`" if values.get("default") else "empty"
                shown = default if "default" in values else "required"
                fields[ast.unparse(node.target).upper()] = values["description"], shown
    return fields


def test_every_setting_is_documented(answers: Answers, rendered: Rendered) -> None:
    """A service's own suite checks only lines that are there: its team may add settings."""
    folder = rendered(answers)
    fields = setting_fields(folder / str(answers.get("package_name", "src")))
    page = (folder / "docs/configuration.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([^|]*) \| ([^|]*) \|$", page, re.MULTILINE)
    example = (folder / ".env.example").read_text(encoding="utf-8")
    written = re.findall(r"^(# )?([A-Z_]+)=(.*)$", example, re.MULTILINE)

    assert len(fields) > 15
    assert len(rows) == len(fields)
    assert {name: (meaning, default) for name, meaning, default in rows} == fields
    others = {"DATABASE_PASSWORD", "DATABASE_OWNER_PASSWORD", "TEST_DATABASE_URL"}
    assert {name for _, name, _ in written} - others == fields.keys()
    for mark, name, value in written:
        if name == "TEST_DATABASE_URL":
            assert value.startswith(f"{answers['database']}://")
            continue
        shown = fields[name][1] if name in fields else "empty"
        assert bool(mark) == (shown != "required"), name
        if mark:
            assert (f"`{value}`" if value else "empty").lower() == shown.lower(), name


def test_documentation_names_what_is_there(answers: Answers, rendered: Rendered) -> None:
    """Every link leads to a page and a heading, and every path of the service exists."""
    folder = rendered(answers)
    package = str(answers.get("package_name", "src"))
    examples = tuple(f"{package}/{name}" for name in ("exports", "notes", "orders"))
    for page in (folder / "README.md", folder / "AGENTS.md", *(folder / "docs").iterdir()):
        text = page.read_text(encoding="utf-8")
        for path, anchor in re.findall(r"\]\(([^)#:]*)(?:#([a-z-]+))?\)", text):
            target = page.parent / path if path else page
            assert target.is_file(), f"{page.name}: {path}"
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^a-z -]", "", h.lower()).replace(" ", "-") for h in headings}
            assert not anchor or anchor in slugs, f"{page.name}: {path}#{anchor}"
        for path in re.findall(rf"`({package}/[^` ]+|(?:deploy|observability)/[^` ]+)`", text):
            if not path.startswith(examples):
                assert [*folder.glob(path)], f"{page.name}: {path}"
        if page.name == "developing.md":
            table = text.partition("## Find the module")[2].partition("\n\n## ")[0]
            rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
            for path in re.findall(r"`([a-z_/.]+)`", " ".join(rows)):
                assert (folder / package / path).exists(), f"developing.md: {path}"


def lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("engine", ENGINES)
def test_is_small(engine: str, rendered: Rendered) -> None:
    package = rendered({"database": engine, "license": "MIT"}) / "src"
    files = [file for file in package.rglob("*.py") if "migrate" not in file.parts]
    counts = [len([line for line in lines(file) if line.strip()]) for file in files]

    assert len(files) <= MOST_FILES
    assert sum(counts) <= MOST_LINES[engine]
    assert median(counts) < 90


def test_http_protocol_is_small(template: Path) -> None:
    """What is written around uvicorn has fewer than 60 lines (docs/decisions/0002-http-server.md)."""
    source = (template / "template/{{ package_name }}/http_protocol.py").read_text(encoding="utf-8")
    parts = [part for part in ast.parse(source).body if hasattr(part, "body")]
    code = "\n".join(map(ast.unparse, parts)).splitlines()  # without comments, in one form

    assert len([line for line in code if line and not line.lstrip().startswith('"""')]) < 60


def test_python_files_have_little_jinja(template: Path) -> None:
    """With more than five lines of it, a file is to become two."""
    files = [
        path
        for folder in ("template", "includes")
        for path in (template / folder).rglob("*")
        if path.is_file() and re.search(r"\.py\b", path.name)
    ]
    counts = {
        file.relative_to(template).as_posix(): sum("{%" in line for line in lines(file))
        for file in files
    }

    assert len(counts) > 100
    assert {path: count for path, count in counts.items() if count > 5} == {}


def test_template_paths_are_legal_on_windows(template: Path) -> None:
    for path in (template / "template").rglob("*"):
        assert not re.search(r'[<>:"\\|?*]|[ .]$', path.name), path
