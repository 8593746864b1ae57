"""The suites of updated services: run once for all services in which a suite finds the same."""

import re
from pathlib import Path

from ..support.services import Service
from .folders import files

# Keys in pyproject.toml that change no test's outcome: they are about people, or list the packages
# that only a pipeline installs
ABOUT = re.compile(rb"^(name|description|license|authors|ci) = .*\n", re.MULTILINE)

Found = tuple[tuple[str, bytes], ...]


def found(folder: Path, package: str) -> Found:
    """Read what a service's suite finds, in an order that compares."""
    roots = (package, "tests", "migrations", "pyproject.toml", ".env.example")
    pages = {"docs/configuration.md"}
    everything = files(folder)
    if b"DATABASE_PASSWORD" in everything[".env.example"]:
        pages.add("compose.yaml")
    texts = {
        path: text
        for path, text in everything.items()
        if path.split("/")[0] in roots or path in pages
    }
    texts["pyproject.toml"] = ABOUT.sub(b"", texts["pyproject.toml"])
    return tuple(sorted((path, text) for path, text in texts.items() if "__pycache__" not in path))


def run_suite(service: Service, found: Found, folder: Path) -> None:
    """Run the suite of services that are alike, in a folder with nothing but what it finds.

    Args:
        service: one of them; it is moved to the folder.
        found: what `found` has read of each.
        folder: a new folder.
    """
    for path, text in found:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text)
    service.folder = folder
    assert " passed" in service.run("pytest", "-q", "-p", "no:cacheprovider").stdout
