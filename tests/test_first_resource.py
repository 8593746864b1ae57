"""The page "Add your first resource" of the service works when it is followed literally."""

import shlex
import subprocess
import sys

import pytest

from .conftest import MakeService
from .support.documentation import apply, blocks
from .support.services import bare_environment

BY_HAND = "\n## Write it by hand\n"


@pytest.mark.in_turn
@pytest.mark.parametrize("accounts", [True, False], ids=["accounts", "plain"])
def test_first_resource_works(engine: str, accounts: bool, make_service: MakeService) -> None:
    service = make_service(engine, answers={"accounts": accounts, "package_name": "desk"})
    service.upgrade()
    page = (service.folder / "docs" / "first-resource.md").read_text(encoding="utf-8")
    steps = blocks(page.partition(BY_HAND)[2])
    code = [line for step in steps if step.language != "console" for line in step.text.splitlines()]

    output = ""
    for step in steps:
        if step.language != "console":
            apply(step, service.folder)
            continue
        for line in step.text.splitlines():
            command = line.removeprefix("$ uv run ")
            output += service.run(*command.split()).stdout

    assert "Verified" in output
    assert "notes" in service.database.tables()
    service.run("ruff", "check", "--no-cache")
    service.run("ruff", "format", "--check", "--no-cache")
    service.run("mypy")
    assert len([line for line in code if line.strip()]) <= 130


@pytest.mark.parametrize("accounts", [True, False], ids=["accounts", "plain"])
def test_command_writes_the_first_resource(accounts: bool, make_service: MakeService) -> None:
    service = make_service("sqlite", answers={"accounts": accounts, "package_name": "desk"})
    service.environment["PYTEST_ADDOPTS"] = "-k 'notes or migrations'"  # all tests run above
    page = (service.folder / "docs" / "first-resource.md").read_text(encoding="utf-8")

    output = ""
    for step in blocks(page.partition(BY_HAND)[0]):
        if step.language == "diff":
            apply(step, service.folder)
        elif step.language == "python":  # what it wrote
            assert step.text in (service.folder / step.path).read_text(encoding="utf-8")
        for line in step.text.splitlines() if step.language == "console" else ():
            if line.startswith("$ uvx "):
                command = [sys.executable, "-m", *shlex.split(line.removeprefix("$ uvx "))]
                folder, environment = service.folder, bare_environment()
                subprocess.run(command, cwd=folder, env=environment, check=True)
            else:
                output += service.run(*line.removeprefix("$ uv run ").split()).stdout

    assert "Verified" in output
    assert "notes" in service.database.tables()
    service.run("ruff", "check", "--no-cache")
    service.run("ruff", "format", "--check", "--no-cache")
    service.run("mypy")
