"""What stops an update says so in its last line, changes nothing, and docs/updating.md has the way out."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tools.releases import NEXT
from tools.render import REPOSITORY, Answers, git

from .combinations import RELEASES
from .command import copier, too_long
from .conftest import Rendered
from .edits import append, replace
from .folders import commit, files, take

ANSWERS = ".copier-answers.yml"
GUIDE = REPOSITORY / "docs" / "updating.md"
LAST = RELEASES[-1].tag


class Fault(NamedTuple):
    """A state in which a service cannot be updated.

    Attributes:
        make: brings a service into it.
        says: what Copier says last, as docs/updating.md quotes it.
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
    guide = GUIDE.read_text(encoding="utf-8")
    assert fault.says in re.sub(r"`…`|…", "", guide), f"{GUIDE.name} has no way out"


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


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("databse=postgresql", "There is no question 'databse': check its spelling."),
        ("fields=title:str", "There is no question 'fields': add resource=NAME"),
        ("package_name=desk", "Keep the name (docs/developing.md)"),
    ],
)
def test_update_refuses_data(data: str, says: str, rendered: Rendered, tmp_path: Path) -> None:
    service = take(rendered({}, LAST), tmp_path / "service")
    before = files(service)

    process = copier("update", "--defaults", "--vcs-ref", NEXT, "--data", data, cwd=service)

    assert process.returncode != 0
    assert says in process.stderr.splitlines()[-1]
    assert files(service) == before


def test_update_from_another_folder_is_refused(rendered: Rendered, tmp_path: Path) -> None:
    """Copier alone changes the recorded release and nothing else, as if the update were done."""
    service = tmp_path / "services" / "orders"
    shutil.copytree(rendered({}, LAST), service)
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    before = files(tmp_path)
    command = ("update", "--defaults", "--vcs-ref", NEXT, "--answers-file")

    process = copier(*command, "services/orders/.copier-answers.yml", cwd=tmp_path)

    assert process.returncode != 0
    assert "Run this in the service's folder, with" in process.stderr.splitlines()[-1]
    assert files(tmp_path) == before
    assert copier(*command, ".copier-answers.yml", cwd=service).returncode == 0
    assert f"_commit: {NEXT}" in (service / ANSWERS).read_text(encoding="utf-8")


def test_copy_refuses_unknown_names(repository: Path, tmp_path: Path) -> None:
    process = copier(
        *("copy", "--defaults", "--vcs-ref", NEXT, "--data", "databse=postgresql"),
        *(str(repository), "new"),
        cwd=tmp_path,
    )

    assert process.returncode != 0
    assert "There is no question 'databse'" in process.stderr.splitlines()[-1]
    assert not (tmp_path / "new").exists()


def test_message_enters_a_folder_with_spaces(repository: Path, tmp_path: Path) -> None:
    process = copier(
        "copy", "--defaults", "--vcs-ref", NEXT, str(repository), "Ada's desk", cwd=tmp_path
    )

    (command,) = re.findall(r"^ +(cd .*)$", process.stderr, re.MULTILINE)
    subprocess.run(["/bin/sh", "-ec", f"{command} && test -d src"], cwd=tmp_path, check=True)


def test_all_recorded_answers_are_accepted_again(rendered: Rendered, tmp_path: Path) -> None:
    """As a script may give them, from a file."""
    service = take(rendered({}, LAST), tmp_path / "service")
    shutil.copy(service / ANSWERS, tmp_path / "answers.yml")

    process = copier(
        *("update", "--defaults", "--vcs-ref", NEXT, "--data-file", str(tmp_path / "answers.yml")),
        cwd=service,
    )

    assert process.returncode == 0, process.stderr
    assert f"_commit: {NEXT}" in (service / ANSWERS).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("make", "path", "says"),
    [
        (lambda _: None, "./template", "the path to the template is relative."),
        (lambda clone: shutil.rmtree(clone / ".git"), "./template", "the template has no commits"),
        (
            lambda clone: append(clone / "README.md", "Mine.\n"),
            "{folder}/template",
            "this service cannot be updated",
        ),
    ],
)
def test_copy_warns_of_a_template_that_cannot_update(
    make: Callable[[Path], None], path: str, says: str, repository: Path, tmp_path: Path
) -> None:
    clone = tmp_path / "template"
    git(tmp_path, "clone", "--quiet", str(repository), str(clone))
    make(clone)

    path = path.format(folder=tmp_path)
    process = copier("copy", "--defaults", "--vcs-ref", "HEAD", path, "new", cwd=tmp_path)

    assert process.returncode == 0
    assert says in process.stderr
    assert too_long(process.stderr.partition(" is ready. ")[2]) == []
    kept = copier("copy", "--defaults", "--vcs-ref", NEXT, str(repository), "kept", cwd=tmp_path)
    assert "cannot be updated" not in kept.stderr


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"database": "postgresql", "observability": True, "devcontainer": True}
        | {"deployment": "kubernetes", "ci": "gitlab"},
    ],
)
def test_package_is_renamed_as_documented(
    answers: Answers, rendered: Rendered, tmp_path: Path
) -> None:
    service = take(rendered(answers, NEXT), tmp_path / "service")
    text = (service / "docs" / "developing.md").read_text(encoding="utf-8")
    section = text.partition("### Rename the package")[2]
    commands = re.findall(r"^\$ (.*)$", section, re.MULTILINE)[:2]

    for command in commands:
        subprocess.run(["/bin/sh", "-ec", command], cwd=service, check=True)

    renamed, wanted = files(service), files(rendered({**answers, "package_name": "new_name"}, NEXT))
    for page in (renamed, wanted):
        del page["docs/developing.md"]  # the commands themselves
    assert renamed == wanted


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
    assert says in GUIDE.read_text(encoding="utf-8")


def test_lost_commit_is_replaced(rendered: Rendered, tmp_path: Path) -> None:
    """As docs/updating.md says: name the release that the service came from."""
    service = take(rendered({}, LAST), tmp_path / "service")
    replace(service / ANSWERS, r"^_commit: .*$", "_commit: " + "a1" * 20)
    commit(service)

    replace(service / ANSWERS, r"^_commit: .*$", f"_commit: {LAST}")
    commit(service)
    assert copier("update", "--defaults", "--vcs-ref", NEXT, cwd=service).returncode == 0

    assert f"_commit: {NEXT}" in (service / ANSWERS).read_text(encoding="utf-8")
