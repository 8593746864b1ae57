import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools.releases import NEXT, history
from tools.render import Answers, git, render

from . import edits

ROOM = 2**25  # bytes, of which all folders at once take a tenth
FIXED = "v999.1.0"  # a release after the working tree, which mends what stands beside edits

MODELS = "v999.2.0"  # one that changes a model
NEW_FIELD = "motto = fields.CharField(max_length=60, null=True)"

Rendered = Callable[[Answers, str], Path]


@pytest.fixture(scope="package", autouse=True)
def _render_in_memory() -> Iterator[None]:
    """Have Copier's temporary folders in memory where there is room: a disk can take half the time."""
    memory = Path("/dev/shm")
    with pytest.MonkeyPatch.context() as patch:
        if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM:
            patch.setattr(tempfile, "tempdir", str(memory))
        yield


@pytest.fixture(scope="session")
def repository() -> Iterator[Path]:
    """The repository with its releases tagged, the working tree as the next one, and the two after."""
    with history() as clone:
        edits.fix(clone)
        git(clone, "commit", "--all", "--quiet", "--message", "Fix what stands beside edits")
        git(clone, "tag", FIXED)
        for file in (clone / "includes" / "models").glob("*.py"):
            edits.replace(file, r"^    hashed_password = .*\n", rf"\g<0>    {NEW_FIELD}\n")
        git(clone, "commit", "--all", "--quiet", "--message", "Change a model")
        git(clone, "tag", MODELS)
        git(clone, "checkout", "--quiet", NEXT)
        git(clone, "gc", "--quiet")  # a packed repository is cloned faster
        yield clone


@pytest.fixture(scope="session")
def rendered(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """Render each combination of answers at each tag once; the folders are not to be changed."""
    folders: dict[str, Path] = {}

    def get(answers: Answers, tag: str) -> Path:
        key = repr((sorted(answers.items()), tag))
        if key not in folders:
            folder = tmp_path_factory.mktemp("rendered") / "service"
            folders[key] = render(repository, folder, answers, tag)
        return folders[key]

    return get
