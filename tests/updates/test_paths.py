"""A path, once rendered, is a promise: a release that breaks one is a major one, and says so."""

import re
from itertools import pairwise

import pytest

from tools.releases import NEXT, releases
from tools.render import REPOSITORY, Answers

from .conftest import Rendered
from .folders import files
from .test_ownership import SERVICES


def section(changelog: str, version: str) -> str:
    """Find what the changelog says of a version, or of `Unreleased`."""
    sections = re.split(r"^## ", changelog, flags=re.MULTILINE)
    return next((s for s in sections if s.split(maxsplit=1)[:1] == [version]), "")


@pytest.mark.parametrize("answers", SERVICES, ids=lambda answers: str(answers["database"]))
def test_dropped_paths_are_announced(answers: Answers, rendered: Rendered) -> None:
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = [*((release.tag, release.version) for release in releases()), (NEXT, "Unreleased")]
    paths = {tag: files(rendered(answers, tag)).keys() for tag, _ in versions}

    for (old, before), (new, version) in pairwise(versions):
        for path in paths[old] - paths[new]:
            # before 1.0.0, a minor version is a major one (Semantic Versioning, section 4)
            major = before.split(".")[:2] if before.startswith("0.") else before.split(".")[:1]
            assert version.split(".")[: len(major)] != major, f"{version} drops {path}"
            assert f"`{path}`" in section(changelog, version), f"{version} drops {path} silently"
