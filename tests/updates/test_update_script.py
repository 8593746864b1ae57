"""update.py updates clones of services, reports what happened, and goes on where it stopped."""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

import update as script
from tools.releases import NEXT
from tools.render import git

from .command import copier, run_update, update_service
from .conftest import FIXED, Rendered
from .edits import append, replace
from .folders import commit, files, take

CHECK = "test ! -e broken"
# Settings that change what git prints, and what it calls a remote
GIT_CONFIG = """\
[user]
name = Ada
email = ada@example.com
[color]
ui = always
[clone]
defaultRemoteName = upstream
[diff]
external = true
mnemonicPrefix = true
[status]
showUntrackedFiles = no
"""


def rows(table: str) -> dict[str, list[str]]:
    """Read a table: the status of each service, and its numbers of files."""
    cells = [re.split(r" {2,}", line) for line in table.splitlines()]
    return {row[0]: row[3:] for row in cells if len(row) > 4}


def test_services_are_updated_reported_and_pushed(
    rendered: Rendered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a user with other settings of git as well."""
    (tmp_path / "gitconfig").write_text(GIT_CONFIG, encoding="utf-8")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    edited = take(rendered({}, "v0.8.0"), tmp_path / "edited")
    replace(edited / "src/main.py", r"^from \.api import (.*)$", r"from .api import \1  # ours")
    replace(edited / "src/start.py", r"^START_TIMEOUT = .*$", "START_TIMEOUT = 77")
    append(edited / ".env.example", "# OURS=1\n")
    commit(edited)
    shop = tmp_path / "shop"
    shutil.copytree(rendered({}, "v1.0.0"), shop / "services" / "orders")
    (shop / "broken").touch()
    (shop / "services/orders/broken").touch()
    git(shop, "init", "--quiet")
    commit(shop)
    lost = take(rendered({}, "v1.0.0"), tmp_path / "lost")
    replace(lost / ".copier-answers.yml", r"^_src_path: .*$", "_src_path: /nowhere/template.git")
    commit(lost)
    services = tmp_path / "services.txt"
    names = [edited, shop / "services/orders", lost, f" {edited}/"]  # one of them twice
    services.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    before = {folder: files(folder) for folder in (edited, shop, lost)}
    command = (f"@{services}", "--to", NEXT, "--check", CHECK, "--push")
    work = tmp_path / "work"

    process = run_update(work, *command)

    assert process.returncode == 1, process.stderr
    assert "[3/3]" in process.stderr
    found = rows(process.stdout)
    assert found["edited"][:4] == ["conflicts", "1", "1", "1"]
    assert found["orders"][:4] == ["checks failed", "0", "0", "0"]
    assert found["lost"][0] == "failed"
    assert "lost: The old release cannot be rendered: " in process.stdout
    report = (work / "edited" / "report.md").read_text(encoding="utf-8")
    assert "- `src/start.py`: now in src/health.py, src/middleware.py" in report
    assert "## Conflicts (1)\n\n- `src/main.py`\n" in report
    assert "## Merged with your edits (1)\n\n- `.env.example`\n" in report
    assert "- 1.0.0: Import `PROJECT`" in report
    assert "0.8.0:" not in report
    patch = (work / "edited" / "removed-edits.diff").read_text(encoding="utf-8")
    assert re.findall(r"^[+-]\w.*$", patch, re.MULTILINE) == [
        "-START_TIMEOUT = 10.0  # seconds",
        "+START_TIMEOUT = 77",
    ]
    assert {folder: files(folder) for folder in (edited, shop, lost)} == before
    assert git(edited, "branch", "--list", "template*") == ""
    assert git(shop, "branch", "--list", "template*") == ""

    clone = work / "edited" / "clone"
    shutil.copy(rendered({}, NEXT) / "src/main.py", clone / "src/main.py")
    (work / "orders/clone/services/orders/broken").unlink()
    append(edited / "README.md", "Newer.\n")
    commit(edited)
    before[edited] = files(edited)
    process = run_update(work, *command)

    found = rows(process.stdout)
    assert (found["edited"][0], found["orders"][0]) == ("updated", "updated"), process.stdout
    assert found["edited"][2:4] == ["1", "1"]
    branch = f"template-{NEXT}"
    assert f"_commit: {NEXT}" in git(edited, "show", f"{branch}:.copier-answers.yml")
    assert "- 1.0.0: Import `PROJECT`" in git(edited, "log", "-1", "--format=%B", branch)
    assert "# OURS=1" in git(edited, "show", f"{branch}:.env.example")
    assert git(shop, "diff", "--name-only", "HEAD", f"{branch}-services-orders").splitlines()
    assert {folder: files(folder) for folder in (edited, shop, lost)} == before


def test_clones_have_different_names() -> None:
    services = ["../orders", "git@example.com:team/orders.git", "https://example.com/x.git#a/cart"]

    assert script.name_folders([*services, "/srv/orders/"]) == [
        "orders",
        "orders~2",
        "cart",
        "orders~3",
    ]


def test_notes_are_those_between_two_releases() -> None:
    def noted(old: str, new: str) -> list[str]:
        update = script.Update("", Path(), old=old, new=new)
        return [note["release"] for note in script.find_notes(update)]

    assert noted("v0.6.1", "v0.8.0") == ["0.7.0", "0.8.0"]
    assert noted("v0.6.2-3-g0a1b2c3", "v0.7.0") == ["0.7.0"]
    assert noted("v1.0.0", "v1.0.0") == []


def test_service_that_came_from_no_release_is_told(tmp_path: Path) -> None:
    """Such as from a clone without tags: its commit has digits, which are no version."""
    update = script.Update("", tmp_path, old="1a2b3c4", new="v1.0.0")
    update.folder.mkdir(parents=True)
    (update.folder / ".copier-answers.yml").write_text("_commit: v1.0.0\n", encoding="utf-8")
    git(update.folder, "init", "--quiet")

    text = script.report(update)

    assert "(1)\n\n- Read all of CHANGELOG.md: 1a2b3c4, which the service came from" in text
    assert "1.0.0: Import" not in text


def test_update_that_is_not_committed_yet_is_reported(tmp_path: Path) -> None:
    service = tmp_path / "shop" / "orders"
    service.mkdir(parents=True)
    answers = service / ".copier-answers.yml"
    answers.write_text("_commit: v0.8.0\n", encoding="utf-8")
    git(service.parent, "init", "--quiet")
    commit(service.parent)
    update = script.Update(str(service), tmp_path / "work")
    root, before = script.locate(update, "HEAD")
    assert (root, update.subfolder) == (str(service.parent), "orders")
    assert script.find_target(update, root, before) == (None, {})

    answers.write_text("_commit: v1.0.0\n", encoding="utf-8")

    assert script.find_target(update, root, before) == ("v1.0.0", {})
    commit(service.parent)
    assert script.find_target(update, *script.locate(update, "HEAD")) == (None, {})
    assert script.locate(update, "HEAD~1") == (root, before)


def test_answers_that_an_update_changed_are_reported(rendered: Rendered, tmp_path: Path) -> None:
    """The report describes the update in the folder, also after an earlier report."""
    service = take(rendered({}, "v1.0.0"), tmp_path / "service")
    append(service / "Dockerfile", "# ours\n")
    commit(service)
    work = tmp_path / "work"
    options = ("--data", "container=false", "--vcs-ref", ":current:")
    assert "Removed" not in update_service(work, service).stdout

    assert copier("update", "--defaults", *options, cwd=service).returncode == 0
    process = update_service(work, service)

    assert process.returncode == 0, process.stderr
    assert "## Removed although edited (1)\n\n- `Dockerfile`\n" in process.stdout
    assert "# ours" in (work / "service" / "removed-edits.diff").read_text(encoding="utf-8")
    known = script.Update.load(str(service), work / "service")
    assert (known.new, known.switched) == ("v1.0.0", {"container": False})


def test_one_copier_fetches_a_template_before_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / script.ANSWERS).write_text(
        "_commit: v1.0.0\n_src_path: https://example.com/a.git\n"
    )
    alone: list[bool] = []

    def run_copier(*_: str, folder: Path) -> None:
        alone.append(script.FETCHING.locked())
        if len(alone) == 1:
            raise script.UpdateError("no network")

    monkeypatch.setattr(script, "run", run_copier)
    monkeypatch.setattr(script, "FETCHED", set())

    with pytest.raises(script.UpdateError):
        script.copier(tmp_path, "update")
    for _ in range(3):
        script.copier(tmp_path, "update")

    assert alone == [True, True, False, False]


def test_changes_that_do_not_arrive_are_reported(rendered: Rendered, tmp_path: Path) -> None:
    """Copier leaves out a file that the team has removed or moved, or replaced by a link."""
    service = take(rendered({}, NEXT), tmp_path / "service")
    (service / "src/settings.py").rename(service / "src/our_settings.py")
    (service / "tests/test_logs.py").unlink()  # which the release does not change
    (service / "docker").mkdir()
    (service / "Dockerfile").rename(service / "docker/Dockerfile")
    (service / "Dockerfile").symlink_to("docker/Dockerfile")
    commit(service)

    process = update_service(tmp_path / "work", service, "--to", FIXED)

    assert process.returncode == 0, process.stderr
    title = script.KINDS["missed"]
    assert f"## {title} (2)\n\n- `Dockerfile`\n- `src/settings.py`\n" in process.stdout
    assert "service: files that you removed or moved have changed, see " in process.stdout
    changed = git(tmp_path / "work/service/clone", "diff", "--name-only", "HEAD~1").split()
    assert not {"Dockerfile", "docker/Dockerfile", "src/settings.py"} & {*changed}


def test_conflict_in_a_file_with_windows_line_ends_is_found(tmp_path: Path) -> None:
    file = tmp_path / "file.py"
    file.write_bytes(b"<<<<<<< before updating\r\n1\r\n=======\r\n2\r\n>>>>>>> after updating\r\n")

    assert script.has_conflict(file)


def test_conflict_in_a_docstring_that_was_formatted_is_found(tmp_path: Path) -> None:
    file = tmp_path / "file.py"
    file.write_bytes(b'"""Say.\n\n    <<<<<<< before updating\n"""\n')

    assert script.has_conflict(file)


def test_services_of_one_repository_have_different_branches() -> None:
    def branch(subfolder: str) -> str:
        return script.Update("", Path(), new="v1.0.0", subfolder=subfolder).branch

    assert branch(".") == "template-v1.0.0"
    assert branch("services/orders") == "template-v1.0.0-services-orders"
    assert branch("our shop/été~1") == "template-v1.0.0-our-shop-été-1"


def test_branch_of_a_remote_repository_can_be_updated(tmp_path: Path) -> None:
    service = tmp_path / "service"
    service.mkdir()
    git(service, "init", "--quiet")
    commit(service)
    git(service, "checkout", "--quiet", "-b", "develop")
    commit(service)
    wanted = git(service, "rev-parse", "develop").strip()
    git(service, "checkout", "--quiet", "main")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--no-checkout", str(service), str(clone))

    assert script.find_commit(clone, "develop") == wanted
    with pytest.raises(script.UpdateError, match="There is no commit or branch gone"):
        script.find_commit(clone, "gone")


@pytest.mark.parametrize("text", ['{"source": "x', "[]", '{"unknown": 1}'])
def test_damaged_state_is_explained(text: str, tmp_path: Path) -> None:
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / script.STATE).write_text(text, encoding="utf-8")

    process = run_update(tmp_path, "https://example.com/orders.git")

    assert process.returncode == 1
    assert process.stderr == (
        f"Delete {tmp_path / 'orders'} to start again: its update.json cannot be read\n"
    )


def test_state_survives_interruptions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what deletes an earlier update, and of what writes the state, such as on a full disk."""
    update = script.Update("orders", tmp_path / "work", status="updated")
    update.save()
    (update.work / "clone").mkdir()

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", interrupt)
        with pytest.raises(KeyboardInterrupt):
            script.clear(update)
    assert script.read_state(update.work)["source"] == "orders"
    script.clear(update)
    assert [path.name for path in update.work.iterdir()] == [script.STATE]

    (update.work / f"{script.STATE}.new").mkdir()  # so it cannot be written
    known = update.status
    update.status = "conflicts"
    with pytest.raises(OSError, match="directory"):
        update.save()
    assert script.read_state(update.work)["status"] == known


def test_number_of_jobs_is_checked(tmp_path: Path) -> None:
    process = run_update(tmp_path, "orders", "--jobs", "0")

    assert process.returncode == 2
    assert process.stderr.endswith("use a number from 1 on, not 0\n")


HOLD = """
import sys
from pathlib import Path
from update import lock, run

work = Path(sys.argv[1])
with lock(work):
    print(flush=True)
    run(sys.executable, "-c", "while not __import__('os').path.exists('end'): pass", folder=work)
"""


def test_only_one_run_uses_a_folder(tmp_path: Path) -> None:
    """If it is killed, its Copier goes on for a while, and would write into the next clone."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, cwd=script.REPOSITORY, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        process = run_update(tmp_path, "nowhere")
        assert process.returncode == 1
        assert re.fullmatch(r"Wait for the run that uses .*\n", process.stderr)
        time.sleep(0.2)  # until its child runs
        holder.kill()
    with pytest.raises(SystemExit, match="Wait for the run"), script.lock(tmp_path):
        pass
    (tmp_path / "end").touch()
    for _ in range(100):
        with suppress(SystemExit), script.lock(tmp_path):
            return
        time.sleep(0.1)
    pytest.fail("The folder stays locked")


NO_ACCESS = """\
git@example.com: Permission denied (publickey).
fatal: Could not read from remote repository.
Please make sure you have the correct access rights
and the repository exists."""


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        (f"{NO_ACCESS}\n", NO_ACCESS),
        ("To x\n ! [rejected] y (fetch first)\nerror: z\n", " ! [rejected] y (fetch first)"),
        ("error: x\nhint: y\n", "error: x"),
        ("Traceback (most recent call last):\n  x\nValueError: wrong\n", "ValueError: wrong"),
        ("", ""),
    ],
)
def test_reason_of_a_failure_is_found(errors: str, reason: str) -> None:
    assert script.find_reason(errors) == reason


def test_folder_of_another_service_is_refused(tmp_path: Path) -> None:
    script.Update("https://example.com/a/orders.git", tmp_path / "orders").work.mkdir()
    script.Update("https://example.com/a/orders.git", tmp_path / "orders").save()

    process = run_update(tmp_path, "https://example.com/b/orders.git")

    assert process.returncode == 1
    assert "it has the update of https://example.com/a/orders.git" in process.stderr


def test_commit_repeats_checks_and_locks(
    rendered: Rendered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checks may pass no more after a later edit, and an old lock fails in each pipeline."""
    clone = take(rendered({}, NEXT), tmp_path / "clone")
    (clone / "uv.lock").write_text("old\n", encoding="utf-8")
    commit(clone)
    (tmp_path / "report.md").touch()
    (tmp_path / "uv").write_text("#!/bin/sh\necho new > uv.lock\n", encoding="utf-8")
    (tmp_path / "uv").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    update = script.Update("", tmp_path, old="v1.0.0", new=NEXT, checked=["true"])
    update.files = {"pyproject.toml": "changed"}
    append(clone / "pyproject.toml", "# newer\n")

    script.commit(update)

    assert git(clone, "show", "HEAD:uv.lock") == "new\n"
    assert git(clone, "status", "--porcelain") == ""
    assert update.checked == []


def test_rejected_push_is_explained(tmp_path: Path) -> None:
    """The table does not say that such a service is updated."""
    service = tmp_path / "service"
    service.mkdir()
    git(service, "init", "--quiet")
    commit(service)
    update = script.Update(
        *(str(service), tmp_path / "work"),
        commit=git(service, "rev-parse", "HEAD").strip(),
        target="v1.0.0",
        new="v1.0.0",
        status="updated",
    )
    update.save()
    git(update.work, "clone", "--quiet", str(service), str(update.clone))
    git(service, "checkout", "--quiet", "-b", "template-v1.0.0")
    (service / "theirs").touch()
    commit(service)
    commit(update.clone)
    update.result = git(update.clone, "rev-parse", "HEAD").strip()
    update.save()
    options = argparse.Namespace(to="v1.0.0", at="main", check=[], format="", push=True)

    found = script.advance(str(service), update.work, options)

    assert found.status == "not pushed"
    delete = f"git -C {update.clone} push origin --delete template-v1.0.0"
    assert found.error.endswith(f"Or run `{delete}`, then this again")
    assert "not pushed" in script.table([found])
    git(service, "checkout", "--quiet", "main")
    subprocess.run(delete.split(), check=True, capture_output=True)
    assert script.advance(str(service), update.work, options).status == "updated"
    assert git(service, "rev-parse", "template-v1.0.0").strip() == update.result
    update.save()  # as by a run with another --work, whose commit is of another time
    git(service, "checkout", "--quiet", "template-v1.0.0")
    git(service, "commit", "--quiet", "--amend", "--allow-empty", "--message", "Earlier")
    assert script.advance(str(service), update.work, options).status == "updated"
