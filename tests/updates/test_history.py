"""Releases are found in the history; a checkout without it says what it lacks."""

from pathlib import Path

import pytest

from tools import releases
from tools.render import REPOSITORY, git


def test_shallow_clone_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "clone", "--quiet", "--depth", "1", REPOSITORY.as_uri(), "clone")
    monkeypatch.setattr(releases, "REPOSITORY", tmp_path / "clone")

    with pytest.raises(RuntimeError, match=r"no history: run `git fetch --unshallow`"):
        releases.releases()


def test_folder_without_git_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "REPOSITORY", tmp_path)

    with pytest.raises(RuntimeError, match="not a git checkout: clone the repository"):
        releases.releases()
