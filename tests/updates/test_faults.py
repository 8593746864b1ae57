"""What stops an update says so in its last line, changes nothing, and README.md has the way out."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tools.releases import NEXT
from tools.render import REPOSITORY, git

from .combinations import RELEASES
from .conftest import Rendered
from .edits import append, replace
from .test_updates import commit, files, take

ANSWERS = ".copier-answers.yml"
LAST = RELEASES[-1].tag


class Fault(NamedTuple):
    """A state in which a service cannot be updated.

    Attributes:
        make: brings a service into it.
        says: what Copier says last, as README.md quotes it.
        ref: what the service is updated to.
    """

    make: Callable[[Path], None]
    says: str
    ref: str = NEXT


def answer(name: str, line: str) -> Callable[[Path], None]:
    """Edit the recorded line of an answer."""
    return lambda service: replace(service / ANSWERS, rf"^{name}: .*\n", line)


FAULTS = {
    "no answers": Fault(lambda service: (service / ANSWERS).unlink(), "Template not found"),
    "no template": Fault(answer("_src_path", ""), "Template not found"),
    "no git": Fault(
        lambda service: shutil.rmtree(service / ".git"),
        "Updating is only supported in git-tracked subprojects",
    ),
    "dirty": Fault(
        lambda service: append(service / "README.md", "Mine.\n"),
        "Destination repository is dirty",
    ),
    "no commit": Fault(
        answer("_commit", ""), "Cannot update because cannot obtain old template references"
    ),
    "commit gone": Fault(answer("_commit", f"_commit: {'a1' * 20}\n"), "Unknown revision"),
    "tag gone": Fault(answer("_commit", "_commit: v0.0.9\n"), "Unknown revision"),
    "template gone": Fault(
        answer("_src_path", "_src_path: /nowhere/template.git\n"), "does not exist"
    ),
    "wrong choice": Fault(
        answer("database", "database: oracle\n"), "Invalid choice for 'database'"
    ),
    "wrong text": Fault(
        answer("package_name", "package_name: my-package\n"),
        "Validation error for question 'package_name'",
    ),
    "no YAML": Fault(answer("license", "license: [MIT\n"), "while parsing"),
    "downgrade": Fault(
        answer("_commit", f"_commit: {NEXT}\n"), "Downgrades are not supported", LAST
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_told(name: str, rendered: Rendered, tmp_path: Path) -> None:
    fault = FAULTS[name]
    service = take(rendered({}, LAST), tmp_path / "service")
    fault.make(service)
    if name not in {"no git", "dirty"}:
        commit(service)
    before = files(service)

    process = subprocess.run(
        [sys.executable, "-m", "copier", "update", "--defaults", "--vcs-ref", fault.ref],
        cwd=service,
        env={**os.environ, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode != 0
    assert fault.says in process.stderr.rpartition("Traceback")[2]
    assert files(service) == before
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert fault.says in re.sub(r"`…`|…", "", readme), "README.md has no way out"


def test_old_copier_is_refused(rendered: Rendered, repository: Path, tmp_path: Path) -> None:
    """As this Copier is by a template that wants a newer one."""
    clone = tmp_path / "template"
    git(tmp_path, "clone", "--quiet", str(repository), str(clone))
    replace(clone / "copier.yml", r"^_min_copier_version: .*$", '_min_copier_version: "99.0.0"')
    git(clone, "commit", "--all", "--quiet", "--message", "Need a newer Copier")

    process = subprocess.run(
        [sys.executable, "-m", "copier", "copy", "--defaults", "--vcs-ref", "HEAD", clone, "new"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode != 0
    says = "This template requires Copier version"
    assert says in process.stderr
    assert says in (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_lost_commit_is_replaced(rendered: Rendered, tmp_path: Path) -> None:
    """As README.md says: name the release that the service came from."""
    service = take(rendered({}, LAST), tmp_path / "service")
    replace(service / ANSWERS, r"^_commit: .*$", "_commit: " + "a1" * 20)
    commit(service)

    replace(service / ANSWERS, r"^_commit: .*$", f"_commit: {LAST}")
    commit(service)
    command = [sys.executable, "-m", "copier", "update", "--defaults", "--vcs-ref", NEXT]
    subprocess.run(command, cwd=service, stdin=subprocess.DEVNULL, capture_output=True, check=True)

    assert f"_commit: {NEXT}" in (service / ANSWERS).read_text(encoding="utf-8")
