"""What a team does to its service: the edits that an update has to leave alone."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


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


def add_router(folder: Path) -> None:
    (folder / "src" / "orders.py").write_text(
        "from fastapi import APIRouter\n\n"
        'router = APIRouter(prefix="/orders")\n\n\n'
        '@router.get("")\n'
        "async def list_orders() -> list[str]:\n"
        "    return []\n",
        encoding="utf-8",
    )
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
    insert_after(
        folder / "src/settings.py",
        "class Settings(BaseSettings):\n"
        '    model_config = SettingsConfigDict(env_file=PROJECT / ".env", extra="ignore", frozen=True)\n',
        "\n    greeting: str = Field(\n"
        '        default="Hello",\n'
        '        description="How to greet",\n'
        '        examples=["Hello"],\n'
        "    )\n",
    )
    insert_after(folder / ".env.example", "so passwords are safe in it.\n", "# GREETING=Hello\n")
    replace(
        folder / "README.md",
        r"^\|---\|---\|---\|$",
        r"\g<0>\n| `GREETING` | How to greet | `Hello` |",
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


class Edit(NamedTuple):
    """An edit, and how to see that it is still there.

    Attributes:
        make: makes it in a service's folder.
        texts: what then stands in files.
        gone: a file that is then no longer there.
    """

    make: Callable[[Path], None]
    texts: dict[str, str]
    gone: str = ""

    def paths(self) -> set[str]:
        return {*self.texts, self.gone} - {""}

    def applies(self, folder: Path) -> bool:
        """Tell whether the service has the files that are edited."""
        return all((folder / path).exists() for path in self.paths() if path not in NEW)

    def kept(self, folder: Path) -> bool:
        return not (self.gone and (folder / self.gone).exists()) and all(
            text in (folder / path).read_text(encoding="utf-8") for path, text in self.texts.items()
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
    "greeting": Edit(rename_greeting, {"src/main.py": "Welcome to"}),
    "lint rule": Edit(change_lint_rule, {"pyproject.toml": '"ERA001"'}),
    "dev tool": Edit(add_dev_tool, {"pyproject.toml": '"vulture>=2.14",'}),
}

# What a release might mend next to those edits: each a file of the template, what to replace in it,
# and by what. They mean nothing, so that the service goes on working.
FIX = "the template's fix"
FIXES = [
    ("src/database/*models.py*", r"^    class Meta:\n", rf"\g<0>        # {FIX}\n"),
    ("src/main.py.jinja", r"^class Greeting\(BaseModel\):\n", rf"\g<0>    # {FIX}\n"),
    ("src/main.py.jinja", r"^    app = ", rf"    # {FIX}\n\g<0>"),
    ("src/main.py.jinja", r"^    app\.get\(.*\n", rf"    # {FIX}\n\g<0>"),
    ("src/settings.py.jinja", r'default="development",$', rf"\g<0>  # {FIX}"),
    (".env.example.jinja", r"^# PORT=", rf"# {FIX}\n\g<0>"),
    ("pyproject.toml.jinja", r"its migrations change form.*$", FIX),
    ("pyproject.toml.jinja", r'"uvicorn>=[^"]*', r"\g<0>.0"),
    ("pyproject.toml.jinja", r'"pytest>=[^"]*', r"\g<0>.0"),
    ("pyproject.toml.jinja", r"text may be in any language", FIX),
    ("tests/test_main.py", r"^async def test_documents_itself.*\n", rf"\g<0>    # {FIX}\n"),
]
FIXED = [
    *("src/database/models.py", "src/main.py", "src/settings.py", ".env.example", "pyproject.toml"),
    "tests/test_main.py",
]


def fix(template: Path) -> None:
    """Make the fixes in a template's folder `template`."""
    for path, pattern, text in FIXES:
        files = list(template.glob(path.replace("src/", "{{ package_name }}/")))
        assert files, f"the template has no {path}"
        for file in files:
            replace(file, pattern, text)
