"""A service's weekly job says whether the template has a newer release, and changes nothing."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tools.releases import NEXT
from tools.render import git

from .command import add_uv
from .conftest import MODELS, Rendered
from .folders import files, take


def steps(folder: Path) -> list[str]:
    """List what the job runs, but for what would install git."""
    if (pipeline := folder / ".gitlab-ci.yml").exists():
        job = yaml.safe_load(pipeline.read_text(encoding="utf-8"))["template"]
        assert job["rules"] == [{"if": '$CI_PIPELINE_SOURCE == "schedule"'}]
        return [line for line in job["script"] if not line.startswith("apt-get ")]
    file = folder / ".github" / "workflows" / "template.yml"
    workflow = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert workflow[True]["schedule"]  # YAML takes the key `on` for true
    job = workflow["jobs"]["check"]
    assert job["permissions"] == {"contents": "read"}  # it could open nothing
    return [step["run"] for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("ci", ["github", "gitlab"])
@pytest.mark.parametrize(
    ("tag", "news"),
    [
        (NEXT, f"Current version is {NEXT[1:]}, latest version is {MODELS[1:]}."),
        (MODELS, "Project is up-to-date!"),
    ],
    ids=["old", "newest"],
)
def test_newer_release_is_told(
    ci: str, tag: str, news: str, rendered: Rendered, tmp_path: Path
) -> None:
    service = take(rendered({"ci": ci}, tag), tmp_path / "service")
    before = files(service)

    said = subprocess.run(
        ["/bin/bash", "-e", "-c", "\n".join(steps(service))],
        cwd=service,
        env={
            **os.environ,
            "PATH": add_uv(tmp_path / "bin"),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        },
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert news in said
    assert files(service) == before
    assert git(service, "status", "--porcelain") == ""
    if ci == "github":
        assert (tmp_path / "summary").read_text(encoding="utf-8") == said
