"""The supported versions in `includes/versions.json` are those that are tested and named."""

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tools.render import REPOSITORY, Answers, render
from tools.tables import PRODUCTS, load_versions

from .support.databases import SERVERS, Database

VERSIONS = load_versions()
# Set by tools/servers.py: what it has started in its newest version
NEWEST = os.environ.get("TEST_NEWEST", "").split()


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


def check(product: str, version: str) -> None:
    """Check that a version is supported, and not older than the newest where that is tested."""
    supported = VERSIONS[product]["supported"]
    least = supported[-1] if product in NEWEST else supported[0]
    assert numbers(version) >= numbers(least), f"{PRODUCTS[product]} {version} is too old"


@pytest.mark.server
@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_server_is_supported(engine: str) -> None:
    database = Database(engine, SERVERS[engine])
    if engine == "postgresql":
        check(engine, database.query("SHOW server_version")[0][0])
        return
    version: str = database.query("SELECT VERSION()")[0][0]
    check("mariadb" if "MariaDB" in version else "mysql", version)


@pytest.mark.python
def test_python_and_sqlite_are_supported() -> None:
    check("sqlite", sqlite3.sqlite_version)
    check("python", sys.version)


def test_command_that_gets_no_installed_server_fails(tmp_path: Path) -> None:
    """Otherwise `.ci/run` would pass without its tests."""
    command = [sys.executable, "-m", "tools.servers", "--installed", "postgresql"]
    process = subprocess.run(
        [*command, "--", "true"],
        cwd=REPOSITORY,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 1
    assert process.stderr.startswith("No servers: install unshare")


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_rendered_images_are_supported(
    engine: str, ci: str, template: Path, tmp_path: Path
) -> None:
    answers: Answers = {"database": engine, "ci": ci, "devcontainer": True}
    folder = render(template, tmp_path / "service", answers)
    text = "\n".join(
        path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()
    )
    images = set(re.findall(r"\b(postgres|mariadb|redis|python):(\d[\d.]*)", text))
    product = "mariadb" if engine == "mysql" else engine

    assert {version for name, version in images if name == "python"} == {
        VERSIONS["python"]["image"],
        VERSIONS["python"]["supported"][-1],
    }
    (image,) = {version for name, version in images if name in {"postgres", "mariadb"}}
    assert image == VERSIONS[product]["image"]
    assert image.startswith(VERSIONS[product]["supported"][-1])
    assert f'requires-python = ">={VERSIONS["python"]["supported"][0]}"' in text


def test_pipelines_run_the_supported_versions() -> None:
    supported = {
        f"{image}:{version}"
        for image, product in (("postgres", "postgresql"), ("mysql",) * 2, ("mariadb",) * 2)
        for version in VERSIONS[product]["supported"]
    }
    text = (REPOSITORY / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    github = yaml.safe_load(text)["jobs"]["versions"]["with"]
    gitlab = yaml.safe_load((REPOSITORY / ".gitlab-ci.yml").read_text(encoding="utf-8"))

    assert set(yaml.safe_load(github["servers"])) == supported
    assert yaml.safe_load(github["pythons"]) == VERSIONS["python"]["supported"]
    rows = [row for name in ("postgresql", "mysql") for row in gitlab[name]["parallel"]["matrix"]]
    assert {image for row in rows for image in row["IMAGE"]} == supported
    assert gitlab["python"]["parallel"]["matrix"] == [{"PYTHON": VERSIONS["python"]["supported"]}]
