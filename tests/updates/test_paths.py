"""A rendered path is a promise: a release that breaks one is a major one, and says what to do.

includes/releases.yml has what each release moved, removed and changed.
"""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import update as script
from tools.releases import NEXT, Release
from tools.render import REPOSITORY, Answers, git

from .combinations import EVERY_FILE, RELEASES, STARTS, WORKING_TREE, asked, options
from .command import copier, too_long
from .conftest import Rendered
from .folders import files, take
from .notes import NOTES, noted

UNRELEASED = "Unreleased"
SETTINGS = "template/.env.example.jinja"
CHANGELOG = (REPOSITORY / "CHANGELOG.md").read_text("utf-8")


def name(tag: str) -> str:
    """Return what the changelog calls a release, and the working tree."""
    return UNRELEASED if tag == NEXT else tag.removeprefix("v")


def section(version: str) -> str:
    """Return the changelog's section of a release, on one line."""
    sections = re.split(r"^## ", CHANGELOG, flags=re.MULTILINE)
    found = next((part for part in sections if part.split(maxsplit=1)[:1] == [version]), "")
    return " ".join(found.split())


@pytest.mark.parametrize("answers", EVERY_FILE, ids=lambda answers: str(answers["database"]))
def test_moved_files_are_those_that_disappear(answers: Answers, rendered: Rendered) -> None:
    paths = {}
    for release in STARTS:
        known = {
            question: answer
            for question, answer in answers.items()
            if question in asked(release) and answer in options(release).get(question, [answer])
        }
        paths[release.tag] = files(rendered(known, release.tag)).keys()

    for old, new in pairwise(paths):
        version, moved = name(new), noted(name(new), "moved")
        for path in paths[old] - paths[new]:
            assert path in moved, f"add {path} to moved of {version} in includes/releases.yml"
            # before 1.0.0, a minor version is a major one (Semantic Versioning, section 4)
            before = name(old)
            major = before.split(".")[:2] if before.startswith("0.") else before.split(".")[:1]
            assert version.split(".")[: len(major)] != major, f"{version} drops {path}"
        assert moved.keys() & paths[new] == set()
        for path in moved.keys() & paths[old]:
            now = [place for place in moved[path] if any(p.startswith(place) for p in paths[new])]
            assert now or not moved[path], f"{version} has none of {path}: {moved[path]}"


def test_settings_are_those_that_change() -> None:
    def settings(text: str) -> set[str]:
        return {*re.findall(r"^#? ?([A-Z_]+)=", text, re.MULTILINE)}

    texts = {
        release.tag: git(REPOSITORY, "show", f"{release.commit}:{SETTINGS}") for release in RELEASES
    }
    texts[NEXT] = (REPOSITORY / SETTINGS).read_text("utf-8")
    for old, new in pairwise(texts):
        known, added = settings(texts[old]), settings(texts[new]) - settings(texts[old])
        changes = noted(name(new), "settings")
        assert {key for key, change in changes.items() if change == "new"} == added, name(new)
        assert known - settings(texts[new]) <= changes.keys(), name(new)


def test_notes_are_of_releases_and_for_answers() -> None:
    answers = {"all"}
    for question, choices in options(WORKING_TREE).items():
        answers |= {question} if True in choices else {*map(str, choices)}
    versions = [UNRELEASED, *(release.version for release in reversed(RELEASES))]

    assert [version for version in versions if version in NOTES] == [*NOTES]
    for note in NOTES.values():
        assert note.keys() <= {"release", "guide", "moved", "settings", "steps"}
        assert note.get("steps", {}).keys() <= answers
        assert "guide" not in note or (REPOSITORY / note["guide"]).is_file()


@pytest.mark.parametrize("version", NOTES)
def test_changelog_agrees(version: str) -> None:
    text = section(version)

    for path, places in noted(version, "moved").items():
        assert f"`{path}`" in text
        for place in places:
            assert place.rstrip("/").rpartition("/")[2] in text, path
    for setting, change in noted(version, "settings").items():
        assert change == "new" or f"`{setting}`" in text
    for steps in noted(version, "steps").values():
        for step in steps:
            assert [term for term in re.findall("`([^`]+)`", step) if term not in text] == []


@pytest.mark.parametrize("answers", [{}, EVERY_FILE[-1]], ids=["default", "full"])
@pytest.mark.parametrize("release", STARTS, ids=lambda release: release.version)
def test_message_and_report_list_the_same(release: Release, answers: Answers) -> None:
    """The message of Copier and the report of update.py, from each release."""
    questions = {name: question["default"] for name, question in asked(WORKING_TREE).items()}
    recorded = {**questions, "accounts": True, "container": True, "ci": "github", **answers}
    environment = Environment(
        autoescape=False,
        loader=FileSystemLoader(REPOSITORY),
        undefined=StrictUndefined,
        extensions=["jinja2_ansible_filters.AnsibleCoreFiltersExtension"],
    )
    message = environment.get_template("includes/updating.jinja").render(
        came_from=release.tag, package_name="src", _copier_answers=recorded
    )
    notes = script.find_notes(script.Update("", Path(), old=release.tag, new=NEXT))

    found = " ".join(message.split())
    listed = [
        *(
            f"{note['release']}: {step}"
            for note in notes
            for step in script.list_steps(note, recorded)
        ),
        *(
            f"{path}: {', '.join(places)}"
            for note in notes
            for path, places in note.get("moved", {}).items()
        ),
    ]
    assert [text for text in listed if text not in found] == []
    lines = re.findall(r"^    (?! )", message, re.MULTILINE)
    assert len(lines) == len(listed)
    assert too_long(message) == []


def test_message_says_what_lies_between(rendered: Rendered, tmp_path: Path) -> None:
    """An update from the last release says nothing of that: test_renovate.py."""
    answers: Answers = {"database": "postgresql", "package_name": "app", "accounts": False}
    service = take(rendered(answers, "v0.6.1"), tmp_path / "service")

    process = copier("update", "--defaults", "--vcs-ref", NEXT, cwd=service)

    assert process.returncode == 0, process.stderr
    before = process.stderr.partition("Start from a clean")[2].partition("\n\n")[0]
    message = process.stderr.partition("changes are in.")[2]
    assert too_long(before) == too_long(message) == []
    for text in (
        "Removed files, and where",
        "app/start.py: app/health.py, app/middleware.py",
        "Since v0.6.1",
        "0.7.0: Add your modules",
        "0.8.0: Set `sslmode=",
        "docs/updating-to-1.0.md",
    ):
        assert text in message
    for text in ("0.6.0:", "src/", "`ssl-mode", "0.8.0: Create the Secret", "`EmailRequest`"):
        assert text not in message
