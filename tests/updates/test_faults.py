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
from .folders import commit, files, take

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
    "template's path is relative": Fault(
        answer("_src_path", "_src_path: ../template\n"), "Local template must be a directory"
    ),
    "wrong choice": Fault(
        answer("database", "database: oracle\n"), "Invalid choice for 'database'"
    ),
    "wrong text": Fault(
        answer("package_name", "package_name: my-package\n"),
        "Validation error for question 'package_name'",
    ),
    "no boolean": Fault(
        answer("accounts", "accounts: perhaps\n"), "The answer to 'accounts' is wrong"
    ),
    "empty boolean": Fault(answer("accounts", "accounts:\n"), "Invalid answer"),
    "wrong name": Fault(
        answer("package_name", "package_name: 1x\n"),
        "Validation error for question 'package_name'",
    ),
    "no YAML": Fault(answer("license", "license: [MIT\n"), "while parsing"),
    "downgrade": Fault(
        answer("_commit", f"_commit: {NEXT}\n"), "Downgrades are not supported", LAST
    ),
}


def copier(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run Copier where nobody answers."""
    return subprocess.run(
        [sys.executable, "-m", "copier", *arguments],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_told(name: str, rendered: Rendered, tmp_path: Path) -> None:
    fault = FAULTS[name]
    service = take(rendered({}, LAST), tmp_path / "service")
    fault.make(service)
    if name not in {"no git", "dirty"}:
        commit(service)
    before = files(service)

    process = copier("update", "--defaults", "--vcs-ref", fault.ref, cwd=service)

    assert process.returncode != 0
    assert fault.says in process.stderr.rpartition("Traceback")[2]
    assert files(service) == before
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert fault.says in re.sub(r"`…`|…", "", readme), "README.md has no way out"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("accounts: perhaps", "perhaps: give true or false"),
        ("database: oracle", "oracle: give an answer such as sqlite"),
        ("package_name: 1x", "1x: give an answer such as src"),
    ],
)
def test_recopy_replaces_no_wrong_answer(
    line: str, says: str, rendered: Rendered, tmp_path: Path
) -> None:
    """Copier alone takes the default for an answer that it cannot use, and any text for true."""
    service = take(rendered({}, NEXT), tmp_path / "service")
    replace(service / ANSWERS, rf"^{line.split(':')[0]}: .*$", line)
    commit(service)
    before = files(service)

    process = copier("recopy", "--defaults", "--overwrite", cwd=service)

    assert process.returncode != 0
    assert process.stderr.splitlines()[-1].endswith(f"{says}, by --data or in {ANSWERS}")
    assert files(service) == before


@pytest.mark.parametrize("answer", ["perhaps", "2", "none"])
def test_text_is_not_taken_for_true(answer: str, repository: Path, tmp_path: Path) -> None:
    process = copier(
        *("copy", "--defaults", "--vcs-ref", NEXT, "--data", f"accounts={answer}"),
        *(str(repository), "new"),
        cwd=tmp_path,
    )

    assert process.returncode != 0
    assert "The answer to 'accounts' is wrong" in process.stderr.splitlines()[-1]
    assert not (tmp_path / "new" / "src").exists()


def test_old_copier_is_refused(rendered: Rendered, repository: Path, tmp_path: Path) -> None:
    """As this Copier is by a template that wants a newer one."""
    clone = tmp_path / "template"
    git(tmp_path, "clone", "--quiet", str(repository), str(clone))
    replace(clone / "copier.yml", r"^_min_copier_version: .*$", '_min_copier_version: "99.0.0"')
    git(clone, "commit", "--all", "--quiet", "--message", "Need a newer Copier")

    process = copier(*("copy", "--defaults", "--vcs-ref", "HEAD", str(clone), "new"), cwd=tmp_path)

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
    assert copier("update", "--defaults", "--vcs-ref", NEXT, cwd=service).returncode == 0

    assert f"_commit: {NEXT}" in (service / ANSWERS).read_text(encoding="utf-8")
