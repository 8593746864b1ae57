"""The oldest Copier that `_min_copier_version` allows copies and updates."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tools.releases import NEXT
from tools.render import REPOSITORY

from .combinations import RELEASES
from .conftest import Rendered
from .folders import files, take

OLDEST = yaml.safe_load((REPOSITORY / "copier.yml").read_text("utf-8").replace("!include", ""))[
    "_min_copier_version"
]
ALL = {"database": "postgresql", "observability": True, "devcontainer": True}


def copier(*arguments: str, cwd: Path) -> str:
    process = subprocess.run(
        [sys.executable, "-m", "uv", "tool", "run", "--from", f"copier=={OLDEST}", "copier"]
        + list(arguments),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout + process.stderr


@pytest.mark.parametrize("answers", [{}, ALL])
def test_oldest_copier_copies_and_updates(
    answers: dict[str, str | bool], repository: Path, rendered: Rendered, tmp_path: Path
) -> None:
    data = [f"--data={name}={answer}" for name, answer in answers.items()]
    newest = tmp_path / "newest"

    copier("copy", "--defaults", *data, "--vcs-ref", NEXT, str(repository), "newest", cwd=tmp_path)
    old = take(rendered(answers, RELEASES[-1].tag), tmp_path / "service")
    copier("update", "--defaults", "--vcs-ref", NEXT, cwd=old)

    expected = files(rendered(answers, NEXT))
    assert files(newest).keys() == expected.keys()
    for name in expected.keys() - {".copier-answers.yml", "README.md"}:
        assert files(newest)[name] == expected[name]
    assert files(old)["src/main.py"] == expected["src/main.py"]
