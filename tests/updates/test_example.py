"""The examples that the release workflow publishes are rendered once, and then updated."""

import shlex
from pathlib import Path
from string import Template

import pytest
import yaml

from tools.example import EXAMPLES, main
from tools.releases import NEXT
from tools.render import REPOSITORY, git

from .combinations import RELEASES
from .conftest import Rendered
from .folders import conflicts, files

LAST = RELEASES[-1].tag
TEAMS = {"README.md", ".copier-answers.yml"}


def arguments(template: Path, tag: str) -> list[str]:
    """Return the arguments that the workflow gives to the command."""
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/release.yml").read_text("utf-8"))
    steps = workflow["jobs"]["examples"]["steps"]
    (line,) = [step["run"] for step in steps if "tools.example" in step.get("run", "")]
    values = {
        "GITHUB_SERVER_URL": str(template.parent),
        "GITHUB_REPOSITORY": template.name,
        "TAG": tag,
    }
    command = shlex.split(Template(line).substitute(values))
    return command[command.index("tools.example") :]


def test_examples_are_updated_at_each_release(
    repository: Path, rendered: Rendered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = tmp_path / "examples"
    examples.mkdir()
    git(examples, "init", "--quiet")

    monkeypatch.chdir(tmp_path)
    for release in (LAST, NEXT, NEXT):
        monkeypatch.setattr("sys.argv", arguments(repository, release))
        main()

    assert git(examples, "log", "--reverse", "--format=%s").splitlines() == [
        f"Render default from {LAST}",
        f"Render full from {LAST}",
        f"Update default to {NEXT}",
        f"Update full to {NEXT}",
    ]
    assert git(examples, "status", "--porcelain") == ""
    assert conflicts(examples) == []
    for name, answers in EXAMPLES.items():
        found, fresh = files(examples / name), files(rendered(answers, NEXT))
        assert {path for path in fresh if found.get(path) != fresh[path]} <= TEAMS
        assert f"_commit: {NEXT}" in found[".copier-answers.yml"].decode()
