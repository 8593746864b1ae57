"""A pipeline repeats the update of a pull request, and refuses removed files that are back."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tools.releases import NEXT, Release
from tools.render import Answers, git, update

from .combinations import RELEASES, asked
from .command import add_uv, write_uv
from .conftest import FIXED, Rendered
from .folders import commit, conflicts, files, take
from .notes import NOTES, noted


def repeat(service: Path, base: str, path: str = "") -> "subprocess.CompletedProcess[str]":
    """Run the job, with a uv that runs this Copier, or with the one on a path."""
    file = service / ".gitlab-ci.yml"
    if file.exists():
        script = yaml.safe_load(file.read_text(encoding="utf-8"))["update"]["script"]
        steps = [step for step in script if not step.startswith("apt-get ")]
    else:
        file = service / ".github" / "workflows" / "template.yml"
        job = yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"]["update"]
        steps = [step["run"] for step in job["steps"] if "run" in step]
    process = subprocess.run(
        ["/bin/bash", "-eo", "pipefail", "-c", "\n".join(f"(\n{step}\n)" for step in steps)],
        cwd=service,
        env={
            **os.environ,
            "PATH": path or add_uv(service.parent / "bin"),
            "CI_MERGE_REQUEST_DIFF_BASE_SHA": base,
            "GITHUB_STEP_SUMMARY": str(service.parent / "summary"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if (service.parent / "before").exists():
        git(service, "worktree", "remove", "--force", "../before")
    return process


@pytest.mark.parametrize(("ci", "release"), [("github", "0.6.1"), ("gitlab", "0.8.0")])
def test_update_is_repeated(ci: str, release: str, rendered: Rendered, tmp_path: Path) -> None:
    service = take(rendered({"ci": ci}, f"v{release}"), tmp_path / "service")
    base = git(service, "rev-parse", "HEAD").strip()
    update(service, ref=NEXT)
    commit(service)

    process = repeat(service, base)

    assert process.returncode == 0, process.stdout
    assert f"Since v{release}, some releases need a change by you:" in process.stdout
    assert "src/start.py: src/health.py, src/middleware.py" in process.stdout
    git(service, "checkout", base, "--", "src/start.py")
    git(service, "commit", "--quiet", "--amend", "--no-edit")

    process = repeat(service, base)

    assert process.returncode == 1, process.stdout
    refused = "src/start.py: the update removed it. Move your edits, then delete it."
    assert process.stdout.splitlines()[-1] == refused


def add_fake_uv(folder: Path, fresh: Path) -> str:
    """Write a uv that replaces a service with a fresh one, as an update does: see test_untouched.py.

    Returns:
        The PATH that finds it.
    """
    return write_uv(
        folder,
        'for target; do :; done\nfind "$target" -type f ! -name .git -delete\n'
        f'cp -R {shlex.quote(str(fresh))}/. "$target"',
    )


@pytest.mark.parametrize("ci", ["github", "gitlab"])
@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.version)
def test_removed_files_of_each_release_are_refused(
    release: Release, ci: str, rendered: Rendered, tmp_path: Path
) -> None:
    """Each one that includes/releases.yml lists, from the release that had it; and no others."""
    # as in other tests, which share renders
    answers: Answers = {} if ci == "github" else {"ci": ci}
    old = answers if "ci" in asked(release) else {}
    service = take(rendered(old, release.tag), tmp_path / "service")
    base = git(service, "rev-parse", "HEAD").strip()
    before = files(service)
    fresh = rendered(answers, NEXT)
    shutil.copytree(fresh, service, dirs_exist_ok=True)
    commit(service)
    newer = [*NOTES][: [*NOTES].index(release.version)] if release.version in NOTES else [*NOTES]
    removed = {path for version in newer for path in noted(version, "moved") if path in before}

    process = repeat(service, base, add_fake_uv(tmp_path / "bin", fresh))

    assert process.returncode == bool(removed), process.stdout
    end = ": the update removed it. Move your edits, then delete it."
    assert {line.removesuffix(end) for line in process.stdout.splitlines()} == removed


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_revert_is_not_an_update(ci: str, rendered: Rendered, tmp_path: Path) -> None:
    """docs/updating.md says to undo an update with git revert."""
    service = take(rendered({"ci": ci}, NEXT), tmp_path / "service")
    update(service, ref=FIXED)
    commit(service)
    base = git(service, "rev-parse", "HEAD").strip()
    git(service, "revert", "--no-edit", "HEAD")

    process = repeat(service, base)

    assert (process.returncode, process.stdout) == (0, "")


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_new_service_is_not_an_update(ci: str, rendered: Rendered, tmp_path: Path) -> None:
    service = take(rendered({"ci": ci}, NEXT), tmp_path / "service")
    git(service, "checkout", "--quiet", "--orphan", "empty")
    git(service, "rm", "--quiet", "-r", "--cached", ".")
    git(service, "commit", "--quiet", "--allow-empty", "--message", "Start")
    base = git(service, "rev-parse", "HEAD").strip()
    commit(service)

    process = repeat(service, base)

    assert (process.returncode, process.stdout) == (0, "")


def test_update_keeps_a_pipeline_in_a_sub_folder(rendered: Rendered, tmp_path: Path) -> None:
    """After the commands of docs/developing.md."""
    service = take(rendered({"ci": "gitlab"}, NEXT), tmp_path / "service")
    page = (service / "docs" / "developing.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ (sed .*\.gitlab-ci\.yml)$", page, re.MULTILINE)
    assert len(commands) == 3
    subprocess.run(["/bin/sh", "-ec", "\n".join(commands)], cwd=service, check=True)
    commit(service)
    before = (service / ".gitlab-ci.yml").read_text(encoding="utf-8")

    update(service, ref=FIXED)

    assert conflicts(service) == []
    after = (service / ".gitlab-ci.yml").read_text(encoding="utf-8")
    assert after != before
    assert after.count("services/orders") == before.count("services/orders") == 9
