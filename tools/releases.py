"""Find the releases in the history, and tag them for Copier."""

import re
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .render import REPOSITORY, copy_working_tree, git

NEXT = "v999.0.0"  # the working tree, as if it were released


class Release(NamedTuple):
    """A commit that set the version in pyproject.toml and in the changelog."""

    version: str
    commit: str

    @property
    def tag(self) -> str:
        return f"v{self.version}"


def _file(commit: str, path: str) -> str:
    try:
        return git(REPOSITORY, "show", f"{commit}:{path}")
    except subprocess.CalledProcessError:
        return ""


def _version(commit: str) -> str:
    project = tomllib.loads(_file(commit, "pyproject.toml") or "[project]")["project"]
    return str(project.get("version", ""))


def releases() -> list[Release]:
    """List the releases, oldest first.

    Raises:
        RuntimeError: the history is missing or incomplete.
    """
    try:
        shallow = git(REPOSITORY, "rev-parse", "--is-shallow-repository").strip()
    except subprocess.CalledProcessError:
        raise RuntimeError("This is not a git checkout: clone the repository instead") from None
    if shallow == "true":
        raise RuntimeError("This clone has no history: run `git fetch --unshallow`")
    found: list[Release] = []
    log = git(REPOSITORY, "log", "--reverse", "--format=%H %P", "--", "CHANGELOG.md")
    for commit, *parents in map(str.split, log.splitlines()):
        version = _version(commit)
        heading = rf"^## {re.escape(version)} - "
        # A merge may contain a release that one of its parents already has
        sets_it = version not in {_version(parent) for parent in parents}
        if sets_it and re.search(heading, _file(commit, "CHANGELOG.md"), re.MULTILINE):
            found.append(Release(version, commit))
    return found


@contextmanager
def history() -> Iterator[Path]:
    """Clone this repository, tag its releases, and commit the working tree on top as `NEXT`.

    Yields:
        The clone, which is deleted afterwards.
    """
    with tempfile.TemporaryDirectory(prefix="history-") as folder:
        clone = Path(folder) / "copier-fastapi-tortoise"
        git(REPOSITORY, "clone", "--quiet", str(REPOSITORY), str(clone))
        for tag in git(clone, "tag").split():
            git(clone, "tag", "--delete", tag)
        for release in releases():
            git(clone, "tag", release.tag, release.commit)
        git(clone, "rm", "--quiet", "-r", ".")
        copy_working_tree(clone)
        git(clone, "add", "--all", "--force")
        git(clone, "commit", "--quiet", "--allow-empty", "--message", "Working tree")
        git(clone, "tag", NEXT)
        yield clone
