import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path

import copier
import pytest
from copier._main import Worker

from tools.releases import NEXT, history
from tools.render import Answers, git, render

from . import edits
from .folders import files, write

ROOM = 2**25  # bytes, of which all folders at once take a tenth
FIXED = "v999.1.0"  # a release after the working tree, which mends what stands beside edits

MODELS = "v999.2.0"  # one that changes a model
NEW_FIELD = "motto = fields.CharField(max_length=60, null=True)"

# Answers that no file is rendered with
QUESTIONS_ONLY = {"_external_data", "recorded", "came_from", "given", "is_new", "checked"}

Rendered = Callable[[Answers, str], Path]


@pytest.fixture(scope="package", autouse=True)
def _render_in_memory() -> Iterator[None]:
    """Have Copier's temporary folders in memory where there is room: a disk can take half the time."""
    memory = Path("/dev/shm")
    with pytest.MonkeyPatch.context() as patch:
        if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM:
            patch.setattr(tempfile, "tempdir", str(memory))
        yield


@pytest.fixture(scope="package", autouse=True)
def _render_once(request: pytest.FixtureRequest) -> Iterator[None]:
    """Render a release with the same answers into empty folders once, except with --all-turns.

    Copier renders the old and the new release of each update into such folders.
    """
    known: dict[tuple[object, ...], dict[str, bytes]] = {}
    contents: dict[bytes, bytes] = {}  # files that are alike are in memory once
    render_template = Worker._render_template

    def render_or_write(worker: Worker) -> None:
        folder = worker.subproject.local_abspath
        if folder.exists() and any(folder.iterdir()):
            render_template(worker)
            return
        answers = worker.answers.combined.items()
        known_by = sorted(repr(answer) for answer in answers if answer[0] not in QUESTIONS_ONLY)
        key = (worker.template.local_abspath, worker.answers_relpath, *known_by)
        if key in known:
            write(folder, known[key])
        else:
            with pytest.MonkeyPatch.context() as patch:
                # as a copy: an update leaves out the team's files, and what its new release does
                patch.setattr(copier._main, "_operation", ContextVar("copy", default="copy"))
                patch.setattr(Worker, "all_exclusions", property(lambda w: w.template.exclude))
                render_template(worker)
            vars(worker).pop("match_exclude", None)
            known[key] = {p: contents.setdefault(c, c) for p, c in files(folder).items()}
        for path in known[key]:
            if worker.match_exclude(Path(path)):
                (folder / path).unlink()

    if request.config.getoption("all_turns"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "_render_template", render_or_write)
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
