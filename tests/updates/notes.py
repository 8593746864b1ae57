"""The notes of releases, in includes/releases.yml."""

from typing import Any

import yaml

from tools.render import REPOSITORY

NOTES: dict[str, dict[str, Any]] = {
    note["release"]: note
    for note in yaml.safe_load((REPOSITORY / "includes/releases.yml").read_text("utf-8"))
}


def noted(version: str, what: str) -> dict[str, Any]:
    """Return the notes of a release about one thing: its moved files, settings or steps."""
    found: dict[str, Any] = NOTES.get(version, {}).get(what, {})
    return found
