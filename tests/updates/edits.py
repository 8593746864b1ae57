"""What a team does to its service: the edits that an update has to leave alone."""

import re
from collections.abc import Callable, Collection
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from tools.render import Answers


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")


def insert_after(file: Path, anchor: str, text: str) -> None:
    """Insert a text behind the first place where another stands."""
    before, found, after = file.read_text(encoding="utf-8").partition(anchor)
    assert found, f"{anchor!r} is not in {file.name}"
    file.write_text(before + found + text + after, encoding="utf-8")


def replace(file: Path, pattern: str, text: str) -> None:
    edited, count = re.subn(
        pattern, text, file.read_text(encoding="utf-8"), count=1, flags=re.MULTILINE
    )
    assert count, f"{pattern!r} is not in {file.name}"
    file.write_text(edited, encoding="utf-8")


def change_model(folder: Path) -> None:
    insert_after(
        folder / "src/database/models.py",
        "    hashed_password = fields.CharField(max_length=255)\n",
        "    nickname = fields.CharField(max_length=30, null=True)\n",
    )


def add_model(folder: Path) -> None:
    append(
        folder / "src/database/models.py",
        "\n\nclass Order(Model):\n"
        "    id = fields.BigIntField(primary_key=True)\n"
        "    dish = fields.CharField(max_length=50)\n\n"
        "    class Meta:\n"
        '        table = "orders"\n',
    )


ORDERS = """\
from fastapi import APIRouter

router = APIRouter(prefix="/orders")


@router.get("")
async def list_orders() -> list[str]:
    return []
"""


def add_router(folder: Path) -> None:
    (folder / "src" / "orders.py").write_text(ORDERS, encoding="utf-8")
    main = folder / "src" / "main.py"
    replace(main, r"^from \. import (.*)$", r"from . import \1, orders")
    insert_after(
        main, "    app.include_router(health.router)\n", "    app.include_router(orders.router)\n"
    )


def append_dependency(folder: Path) -> None:
    insert_after(
        folder / "pyproject.toml",
        "    \"uvloop>=0.22; sys_platform != 'win32'\",\n",
        '    "zstandard>=0.23",\n',
    )


def insert_dependency(folder: Path) -> None:
    replace(folder / "pyproject.toml", r'^    "fastapi>=.*$', r'\g<0>\n    "freezegun>=1.5",')


def add_setting(folder: Path) -> None:
    replace(
        folder / "src/settings.py",
        r"^class Settings\(.*\):\n    model_config = [^)]*\)\n",
        r"\g<0>\n    greeting: str = Field(\n"
        '        default="Hello",\n'
        '        description="How to greet",\n'
        '        examples=["Hello"],\n'
        "    )\n",
    )
    insert_after(folder / ".env.example", "so passwords are safe in it.\n", "# GREETING=Hello\n")


def add_last_setting(folder: Path) -> None:
    """Add a setting where most people would: behind the others."""
    replace(
        folder / "src/settings.py",
        r"^    max_body_size: int = Field\(\n(?:     .*\n)*    \)\n",
        r'\g<0>    opening_hour: int = Field(default=9, description="When we open")\n',
    )
    append(folder / ".env.example", "# OPENING_HOUR=9\n")


def add_last_router(folder: Path) -> None:
    (folder / "src" / "orders.py").write_text(ORDERS, encoding="utf-8")
    main = folder / "src" / "main.py"
    replace(
        main, r"^from \.(start|problems) import", r"from .orders import router as orders\n\g<0>"
    )
    replace(main, r"^    return app\n", r"    app.include_router(orders)\n\g<0>")


def add_last_fixture(folder: Path) -> None:
    append(
        folder / "tests/conftest.py",
        '\n\n@pytest.fixture\ndef order() -> str:\n    return "soup"\n',
    )


def change_readme(folder: Path) -> None:
    replace(folder / "README.md", r"^## Run it$", "## Who to ask\n\nThe order team.\n\n## Run it")


def delete_test(folder: Path) -> None:
    (folder / "tests" / "test_main.py").unlink()


def rename_greeting(folder: Path) -> None:
    replace(folder / "src/main.py", r"Hello from", "Welcome to")
    replace(folder / "tests/test_main.py", r"Hello from", "Welcome to")


def change_lint_rule(folder: Path) -> None:
    replace(
        folder / "pyproject.toml", r'^    "D1", .*$', r'\g<0>\n    "ERA001", # we keep old code'
    )


def add_dev_tool(folder: Path) -> None:
    replace(folder / "pyproject.toml", r'^    "ruff>=.*$', r'\g<0>\n    "vulture>=2.14",')


def change_workflow(folder: Path) -> None:
    insert_after(
        folder / ".github/workflows/ci.yml",
        "        run: uv run mypy\n",
        "      - name: Dead code\n        run: uv run vulture src\n",
    )


def change_pipeline(folder: Path) -> None:
    insert_after(folder / ".gitlab-ci.yml", "    - uv run mypy\n", "    - uv run vulture src\n")


def change_dockerfile(folder: Path) -> None:
    replace(
        folder / "Dockerfile",
        r"^ENV PATH=",
        r"RUN apt-get update && apt-get install --yes fonts-dejavu\n\n\g<0>",
    )


NOTHING: Answers = {}


class Edit(NamedTuple):
    """An edit, and how to see that it is still there.

    Attributes:
        make: makes it in a service's folder.
        texts: what then stands in files.
        gone: a file that is then no longer there.
        answers: those of a service that has the files.
    """

    make: Callable[[Path], None]
    texts: dict[str, str]
    gone: str = ""
    answers: Answers = NOTHING

    def paths(self) -> set[str]:
        return {*self.texts, self.gone} - {""}

    def applies(self, folder: Path) -> bool:
        """Tell whether the service has the files that are edited."""
        return all((folder / path).exists() for path in self.paths() if path not in NEW)

    def kept(self, folder: Path, paths: Collection[str] | None = None) -> bool:
        """Tell whether it is still there, in all files or in those of some paths."""
        return not (self.gone and (folder / self.gone).exists()) and all(
            text in (folder / path).read_text(encoding="utf-8")
            for path, text in self.texts.items()
            if paths is None or path in paths
        )


NEW = {"src/orders.py"}


EDITS = {
    "model": Edit(change_model, {"src/database/models.py": "nickname = "}),
    "new model": Edit(add_model, {"src/database/models.py": "class Order(Model)"}),
    "router": Edit(
        add_router,
        {"src/orders.py": "list_orders", "src/main.py": "app.include_router(orders.router)"},
    ),
    "dependency appended": Edit(append_dependency, {"pyproject.toml": '"zstandard>=0.23",'}),
    "dependency inserted": Edit(insert_dependency, {"pyproject.toml": '"freezegun>=1.5",'}),
    "setting": Edit(
        add_setting, {"src/settings.py": "greeting: str", ".env.example": "GREETING=Hello"}
    ),
    "readme": Edit(change_readme, {"README.md": "The order team."}),
    "deleted test": Edit(delete_test, {}, gone="tests/test_main.py"),
    "greeting": Edit(
        rename_greeting, {"src/main.py": "Welcome to", "tests/test_main.py": "Welcome to"}
    ),
    "lint rule": Edit(change_lint_rule, {"pyproject.toml": '"ERA001"'}),
    "dev tool": Edit(add_dev_tool, {"pyproject.toml": '"vulture>=2.14",'}),
    "workflow": Edit(
        change_workflow,
        {".github/workflows/ci.yml": "vulture src"},
        answers={"ci": "github"},
    ),
    "pipeline": Edit(change_pipeline, {".gitlab-ci.yml": "vulture src"}, answers={"ci": "gitlab"}),
    "dockerfile": Edit(
        change_dockerfile, {"Dockerfile": "fonts-dejavu"}, answers={"container": True}
    ),
}

# Those at the ends of what the template has, where it adds nothing itself. Before the release that
# is named it did, which leaves markers to resolve.
LAST = {
    "setting": Edit(
        add_last_setting,
        {"src/settings.py": "opening_hour: int", ".env.example": "OPENING_HOUR=9"},
    ),
    "router": Edit(
        add_last_router,
        {"src/orders.py": "list_orders", "src/main.py": "app.include_router(orders)"},
    ),
    "fixture": Edit(add_last_fixture, {"tests/conftest.py": "def order()"}),
    "model": EDITS["new model"],
    "dependency": EDITS["dependency appended"],
}
LAST_SINCE = "0.4.0"

# What 1.0 moves beside edits: a file, a line that older releases have in it, and what the edit adds
# there. docs/updating-to-1.0.md shows how to resolve these conflicts, and there are no others.
MOVED = [
    ("src/main.py", "from .api import add_rules\n", "orders"),  # with accounts, 0.3.0 to 0.8.0
    ("src/settings.py", "class Settings(BaseSettings):\n", "greeting: "),  # 0.1.0 to 0.8.0
]


def conflicts_with_1_0(folder: Path) -> set[str]:
    """Name the files of an edited service that an update from before 1.0 leaves with conflicts."""
    texts = {path: (folder / path).read_text(encoding="utf-8") for path, _, _ in MOVED}
    return {path for path, line, edit in MOVED if line in texts[path] and edit in texts[path]}


def resolve(folder: Path, paths: Collection[str], edits: Collection[Edit]) -> None:
    """Resolve conflicts: take the template's lines, and make the edits in these files again."""
    for path in paths:
        text = (folder / path).read_text(encoding="utf-8")
        text = re.sub(
            r"^<<<<<<< .*?^=======\n(.*?)^>>>>>>> .*?\n",
            r"\1",
            text,
            flags=re.MULTILINE | re.DOTALL,
        )
        (folder / path).write_text(text, encoding="utf-8")
    for edit in edits:
        if not edit.kept(folder):
            others = {path: (folder / path).read_text("utf-8") for path in {*edit.texts} - {*paths}}
            edit.make(folder)
            for path, text in others.items():
                (folder / path).write_text(text, encoding="utf-8")


# What a release might fix next to those edits: each a file of the repository, what to replace in it,
# and by what. They mean nothing, so that the service goes on working.
FIX = "the template's fix"
FIXES = [
    ("includes/models/*", r"^    class Meta:\n", rf"\g<0>        # {FIX}\n"),
    (
        "includes/main/*.py.jinja",
        r"^class Greeting\(BaseModel\):\n",
        rf"\g<0>    # {FIX}\n",
    ),
    ("includes/main/*.py.jinja", r"^    app = ", rf"    # {FIX}\n\g<0>"),
    ("includes/main/*.py.jinja", r"^    app\.get\(.*\n", rf"    # {FIX}\n\g<0>"),
    ("template/{{ package_name }}/settings.py.jinja", r"^    port: ", rf"    # {FIX}\n\g<0>"),
    (
        "template/{{ package_name }}/settings.py.jinja",
        r"^    max_body_size",
        r'    pause: int = Field(default=0, description="Seconds")\n\g<0>',
    ),
    ("template/.env.example.jinja", r"^# PORT=", rf"# {FIX}\n\g<0>"),
    ("template/.env.example.jinja", r"^# MAX_BODY_SIZE=", r"# PAUSE=0\n\g<0>"),
    (
        "includes/main/*.py.jinja",
        r"^    app\.include_router\(health",
        rf"    # {FIX}\n\g<0>",
    ),
    ("template/tests/conftest.py.jinja", r"^@pytest.fixture\nasync def client", rf"# {FIX}\n\g<0>"),
    ("template/pyproject.toml.jinja", r"its migrations change form.*$", FIX),
    ("template/pyproject.toml.jinja", r'"uvicorn>=[^"]*', r"\g<0>.0"),
    ("template/pyproject.toml.jinja", r'"pytest>=[^"]*', r"\g<0>.0"),
    ("template/pyproject.toml.jinja", r"text may be in any language", FIX),
    ("template/.github/workflows/ci.yml.jinja", r"^          version: .*$", rf"\g<0> # {FIX}"),
    ("template/.github/workflows/ci.yml.jinja", r"^      - name: Refuse", rf"      # {FIX}\n\g<0>"),
    ("template/.gitlab-ci.yml.jinja", r"uv==[0-9.]*$", rf"\g<0> # {FIX}"),
    ("template/Dockerfile.jinja", r"^FROM \$\{BASE\} AS build", rf"# {FIX}\n\g<0>"),
    ("template/Dockerfile.jinja", r"^    PYTHONUNBUFFERED=1 .*\n", r"\g<0>    PIP_NO_INPUT=1 \\\n"),
    (
        "template/tests/test_main.py",
        r"^async def test_documents_itself.*\n",
        rf"\g<0>    # {FIX}\n",
    ),
]
FIXED = [
    *("src/database/models.py", "src/main.py", "src/settings.py", ".env.example", "pyproject.toml"),
    *(
        "tests/conftest.py",
        "tests/test_main.py",
        ".github/workflows/ci.yml",
        ".gitlab-ci.yml",
        "Dockerfile",
    ),
]


def fix(repository: Path) -> None:
    """Make the fixes in the template's repository."""
    for path, pattern, text in FIXES:
        # a file that is there for some answers only has a condition around its name or its folder's
        files = [
            file
            for folder in ("includes", "template")
            for file in (repository / folder).rglob("*")
            if fnmatch(re.sub(r"{%.*?%}", "", file.relative_to(repository).as_posix()), path)
        ]
        assert files, f"the template has no {path}"
        for file in files:
            replace(file, pattern, text)
