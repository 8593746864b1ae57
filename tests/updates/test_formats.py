"""A team's own format: update.py keeps it, without conflicts in what the team did not edit."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import update as script
from tools.releases import NEXT
from tools.render import git

from .command import update_service
from .conftest import Rendered
from .edits import append, replace
from .folders import ANSWERS, commit, conflicts, files, take

FORMAT = f"{shlex.quote(sys.executable)} -m ruff format --no-cache"
# Like pre-commit, which fails if it changed files, or if its configuration is not staged
CHECKED_FORMAT = (
    "git diff --quiet .pre-commit-config.yaml || exit 1; "
    "perl -pi -e 's/ # v[0-9.]+$//' .github/workflows/*.yml; "
    f"{FORMAT} --check || {{ {FORMAT}; exit 1; }}"
)
GIT_CONFIG = "[user]\nname = Ada\nemail = ada@example.com\n[core]\nautocrlf = true\n"
UNFORMATTED = "names = [ 'ada',\n  'bob' ]\n"


def format_like_the_team(folder: Path) -> None:
    project = folder / "pyproject.toml"
    replace(project, r"^line-length = 100$", "line-length = 79")
    replace(project, r"^\[tool\.ruff\]$", "\\g<0>\nformat.quote-style = 'single'")
    subprocess.run(CHECKED_FORMAT, shell=True, cwd=folder, capture_output=True, check=False)


def test_own_format_is_kept_without_conflicts(
    rendered: Rendered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if git checks out Windows line ends: this release had no .gitattributes."""
    (tmp_path / "gitconfig").write_text(GIT_CONFIG, encoding="utf-8")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    service = take(rendered({}, "v0.8.0"), tmp_path / "service")
    format_like_the_team(service)
    append(service / "src" / "health.py", "\n\nOURS = 1\n")
    append(service / "src" / "start.py", "\nOURS = 1\n")
    (service / "src" / "names.py").write_text(UNFORMATTED, encoding="utf-8")
    commit(service)
    before = files(service)

    process = update_service(
        tmp_path / "work", service, "--to", NEXT, "--format", CHECKED_FORMAT, "--push"
    )

    assert process.returncode == 0, process.stdout + process.stderr
    assert "## Removed although edited (1)\n\n- `src/start.py`" in process.stdout
    patch = (tmp_path / "work" / "service" / "removed-edits.diff").read_text(encoding="utf-8")
    assert re.findall(r"^[+-]\w.*$", patch, re.MULTILINE) == ["+OURS = 1"]
    assert files(service) == before
    assert git(service, "log", "--format=%s", f"HEAD..template-{NEXT}").count("\n") == 1
    git(service, "checkout", "--quiet", f"template-{NEXT}")
    assert conflicts(service) == []
    fresh = take(rendered({}, NEXT), tmp_path / "fresh")
    format_like_the_team(fresh)
    found, wanted = files(service), files(fresh)
    assert found["src/names.py"] == UNFORMATTED.encode()
    assert found["src/health.py"] == wanted.pop("src/health.py") + b"\n\nOURS = 1\n"
    differing = {path for path in wanted if found.get(path) != wanted[path]}
    assert differing <= {"README.md", ANSWERS, "pyproject.toml"}


def test_files_that_the_template_does_not_change_stay(rendered: Rendered, tmp_path: Path) -> None:
    """If edits are not formatted, files are executable, or the formatter adds and deletes files."""
    service = take(rendered({}, NEXT), tmp_path / "service")
    format_like_the_team(service)
    append(service / "src" / "health.py", f"\n\n{UNFORMATTED}")
    (service / "src" / "health.py").chmod(0o755)
    append(service / "src" / "logs.py", "\n\nOURS = 1\n")
    commit(service)
    clumsy = f"{FORMAT}; rm -f src/logs.py LICENSE; git init --quiet new; touch new/file src/new"

    process = update_service(tmp_path / "work", service, "--to", NEXT, "--format", clumsy)

    assert process.returncode == 0, process.stdout
    assert "up to date" in process.stdout
    clone = tmp_path / "work" / "service" / "clone"
    assert git(clone, "status", "--porcelain") == ""


def test_conflict_is_formatted_after_it_is_resolved(rendered: Rendered, tmp_path: Path) -> None:
    """A file with markers is no Python, so the formatter fails until then.

    In a docstring, it would indent them, and nobody would find them.
    """
    service = take(rendered({}, "v0.8.0"), tmp_path / "service")
    format_like_the_team(service)
    replace(service / "src/main.py", r"^from \.api import (.*)$", r"from .api import \1  # ours")
    replace(service / "src/auth/cleanup.py", "Several processes may do", "Our workers do")
    commit(service)
    options = ("--to", NEXT, "--format", FORMAT)
    work = tmp_path / "work"

    process = update_service(work, service, *options)

    listed = "## Conflicts (2)\n\n- `src/auth/cleanup.py`\n- `src/main.py`\n"
    assert listed in process.stdout, process.stderr
    shutil.copy(rendered({}, NEXT) / "src/auth/cleanup.py", work / "service/clone/src/auth")
    resolved = work / "service/clone/src/main.py"
    text = (rendered({}, NEXT) / "src/main.py").read_text(encoding="utf-8")
    resolved.write_text(text, encoding="utf-8")
    other = update_service(work, service, "--to", NEXT)
    assert "Use the same --to and --format as before" in other.stdout
    process = update_service(work, service, *options)
    assert process.returncode == 0, process.stdout + process.stderr
    fresh = take(rendered({}, NEXT), tmp_path / "fresh")
    format_like_the_team(fresh)
    assert resolved.read_bytes() == (fresh / "src/main.py").read_bytes() != text.encode()
    assert git(work / "service/clone", "status", "--porcelain") == ""


PAIRS = """\
PAIRS = {
    "address": ("PATCH", "/users/me", {"email": EMAIL}, users, "change_profile"),
    "password": (
        "PUT",
        "/users/me/password",
        {"current_password": PASSWORD, "new_password": NEW_PASSWORD},
        users,
        "hash_password",
    ),
}
"""


@pytest.mark.parametrize(
    ("old", "edit", "wanted"),
    [
        # only lines that were edited stay in the team's format
        ("A = '1'\nB = 0\nC = 0\nD = '2'\n", ("'1'", "'3'"), "A = '3'\nB = 0\nC = 0\nD = \"2\"\n"),
        # git would take one entry for the other, and lose the second one
        (PAIRS, ("'PATCH',", "'PATCH',  # ours"), None),
    ],
)
def test_edits_of_formatted_lines_are_kept(
    old: str, edit: tuple[str, str], wanted: str | None, tmp_path: Path
) -> None:
    update = script.Update("", tmp_path, formatter=FORMAT)
    file = update.clone / "file.py"
    update.clone.mkdir()
    git(update.clone, "init", "--quiet")
    settings = "line-length = 60\nformat.quote-style = 'single'\n"
    (update.clone / "ruff.toml").write_text(settings, encoding="utf-8")
    file.write_text(old, encoding="utf-8")
    subprocess.run([*shlex.split(FORMAT), "--quiet"], cwd=update.clone, check=True)
    text = file.read_text(encoding="utf-8").replace(*edit)
    assert edit[1] in text
    file.write_text(text, encoding="utf-8")
    commit(update.clone)
    git(update.clone, "worktree", "add", "--quiet", "--detach", "../before")
    (tmp_path / "before/file.py").write_text(old.replace("'", '"'), encoding="utf-8")

    script.use_template_format(update)

    assert file.read_text(encoding="utf-8") == (wanted or text)


def test_formatter_that_fails_is_explained(rendered: Rendered, tmp_path: Path) -> None:
    service = take(rendered({}, "v0.8.0"), tmp_path / "service")

    process = update_service(
        tmp_path / "work", service, "--to", NEXT, "--format", "nosuchformatter"
    )

    assert process.returncode == 1
    log = tmp_path / "work" / "service" / "format.log"
    assert f"service: `nosuchformatter` failed, see {log}" in process.stdout
    assert "nosuchformatter" in log.read_text(encoding="utf-8")
