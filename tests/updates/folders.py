"""The folders of services: taken, committed, compared."""

import os
import re
import shutil
from pathlib import Path

import yaml

from tools.render import Answers, git

ANSWERS = ".copier-answers.yml"


def take(rendered: Path, folder: Path) -> Path:
    """Take a copy of a rendered service, and commit it, as its README says."""
    shutil.copytree(rendered, folder)
    git(folder, "init", "--quiet")
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "Change")


def files(folder: Path) -> dict[str, bytes]:
    """Read all files but git's."""
    found = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != ".git"]
        inside = Path(place).relative_to(folder)
        for name in names:
            if name != ".git":  # as in worktrees
                found[(inside / name).as_posix()] = Path(place, name).read_bytes()
    return found


def write(folder: Path, texts: dict[str, bytes]) -> None:
    """Write the files that `files` has read."""
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text)


def migrations(folder: Path) -> dict[str, bytes]:
    """Read the migrations, which an update never touches."""
    return {p: c for p, c in files(folder).items() if re.fullmatch(r"migrations/.*\.py", p)}


def recorded(folder: Path) -> Answers:
    """Read the answers of a service; those to newer questions keep it as it was."""
    answers = yaml.safe_load((folder / ANSWERS).read_text(encoding="utf-8"))
    return {name: answer for name, answer in answers.items() if not name.startswith("_")}


def conflicts(folder: Path) -> list[str]:
    """List the files with conflict markers, or rejected pieces."""
    return [
        path
        for path, content in files(folder).items()
        if path.endswith(".rej") or re.search(rb"^(<<<<<<<|>>>>>>>) ", content, re.MULTILINE)
    ]
