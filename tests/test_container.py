"""The rendered image is built and run; what is around it is checked by the field's linters."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
import yaml

from tools.render import ENGINES, Answers, render

from .support import images
from .support.databases import SERVERS, new_database
from .support.documentation import serving
from .support.images import Image, Store
from .support.linters import lint
from .support.network import wait_for
from .support.services import ENVIRONMENTS, bare_environment, free_port, uv

COMBINATIONS: list[Answers] = [
    *(
        {"database": engine, "accounts": accounts}
        for engine in ENGINES
        for accounts in (True, False)
    ),
    {
        "database": "sqlite",
        "project_name": "*Star* <b> #1 | $HOME `x` 'y'",
        "project_description": "100 % {braces} & more",
        "package_name": "order_desk",
    },
]
TEST = "tests/test_health.py"
SECRETS = {".env": "SECRET=1\n", "src/.env": "SECRET=2\n", ".git/config": "secret\n"}


@pytest.fixture(
    params=COMBINATIONS, ids=lambda answers: "-".join(map(str, answers.values())), scope="module"
)
def project(
    request: pytest.FixtureRequest, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A service that the tests read, and do not change."""
    return render(template, tmp_path_factory.mktemp("container") / "service", request.param)


def test_dockerfile_is_lint_clean(project: Path) -> None:
    lint("hadolint", "--no-color", project / "Dockerfile")


def test_compose_file_is_valid_and_holds_no_password(project: Path) -> None:
    file = project / "compose.yaml"
    text = file.read_text(encoding="utf-8")
    services = yaml.safe_load(text)["services"]

    lint("check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)
    assert services["service"]["depends_on"] == {
        "migrate": {"condition": "service_completed_successfully"}
    }
    if "mailpit" in services:
        assert services["mailpit"]["profiles"] == ["mailpit"], "not with the service"
    if "database" in services:
        assert services["migrate"]["depends_on"]["database"] == {"condition": "service_healthy"}
        assert services["database"]["healthcheck"]["test"]
        volume, script = services["database"]["volumes"]
        assert volume.startswith("data:")
        assert (project / script.partition(":")[0]).is_file()
        assert (
            "owner:${DATABASE_OWNER_PASSWORD" in services["migrate"]["environment"]["DATABASE_URL"]
        )
        serving = services["service"]["environment"]
        assert "server:${DATABASE_PASSWORD" in serving["DATABASE_URL"]
        assert serving["DATABASE_OWNER_PASSWORD"] == "", ".env has it, and goes to all"
    for password in re.findall(r"PASSWORD: ([^#\n]*)|//(?:owner|server):(.*)@", text):
        assert re.fullmatch(
            r"\$\{DATABASE_(OWNER_)?PASSWORD(:\?.*)?\}|\"(yes)?\"", "".join(password).strip()
        )


def test_database_to_develop_against_needs_docker_alone(project: Path) -> None:
    file, readme = project / "compose.development.yaml", project / "README.md"
    started = f"docker compose --file {file.name} up --detach --wait\n"
    services = yaml.safe_load((project / "compose.yaml").read_text(encoding="utf-8"))["services"]

    if "database" not in services:
        assert not file.exists()
        assert file.name not in readme.read_text(encoding="utf-8")
        return
    lint("check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)
    database = yaml.safe_load(file.read_text(encoding="utf-8"))["services"]["database"]
    (port,) = database["ports"]
    (password,) = database["environment"].values()
    assert database["image"] == services["database"]["image"]
    assert database["healthcheck"]["test"], "for --wait"
    assert port.startswith("127.0.0.1:")
    text = readme.read_text(encoding="utf-8")
    assert started in text
    assert f":{password}@127.0.0.1:{port.rpartition(':')[2]}/" in text


def test_containers_are_confined(project: Path) -> None:
    services = yaml.safe_load((project / "compose.yaml").read_text(encoding="utf-8"))["services"]

    for name, service in services.items():
        assert service["mem_limit"], name
        assert service["pids_limit"] > 0, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service.get("read_only") or name == "database", name
        users = {"mysql", "nobody", "postgres", "redis"}
        assert "build" in service or service["user"] in users, name
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), name


def test_is_absent_when_declined(template: Path, tmp_path: Path) -> None:
    folder = render(template, tmp_path / "service", {"container": False, "database": "mysql"})

    assert not any((folder / name).exists() for name in ("Dockerfile", "compose.yaml"))
    for file in folder.rglob("*"):
        if file.is_file() and file.name != ".copier-answers.yml":
            text = file.read_text(encoding="utf-8").lower()
            assert not re.search(r"docker|container|compose", text), file


# of what containers.dev lists for devcontainer.json, what is used here; no linter has its schema
DEVCONTAINER = {
    "name": str,
    "image": str,
    "dockerComposeFile": str,
    "service": str,
    "workspaceFolder": str,
    "remoteEnv": dict,
    "onCreateCommand": str,
    "updateContentCommand": str,
    "postCreateCommand": str,
    "forwardPorts": list,
    "customizations": dict,
}


@pytest.mark.parametrize("database", ENGINES)
def test_devcontainer_is_well_formed(database: str, template: Path, tmp_path: Path) -> None:
    answers: Answers = {"database": database, "devcontainer": True, "container": False}
    folder = render(template, tmp_path / "service", answers) / ".devcontainer"
    config = json.loads((folder / "devcontainer.json").read_text(encoding="utf-8"))

    for name, value in config.items():
        assert isinstance(value, DEVCONTAINER[name]), name
    if database == "sqlite":
        assert config["image"]
        assert [file.name for file in folder.iterdir()] == ["devcontainer.json"]
        return
    assert "image" not in config
    file = folder / config["dockerComposeFile"]
    lint("check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)
    services = yaml.safe_load(file.read_text(encoding="utf-8"))["services"]
    development = services.pop(config["service"])
    (engine,) = services.values()
    assert development["volumes"] == [f"..:{config['workspaceFolder']}"]
    assert development["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert engine["healthcheck"]["test"]
    assert "ports" not in engine, "its password is none"


@pytest.mark.in_turn
def test_devcontainer_sets_itself_up(engine: str, template: Path, tmp_path: Path) -> None:
    """Its commands run as in a new container, with this machine's database and Python."""
    answers: Answers = {"database": engine, "devcontainer": True}
    folder = render(template, tmp_path / "service", answers)
    config = json.loads((folder / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    compose = folder / ".devcontainer" / "compose.yaml"
    python = tmp_path / "python"
    subprocess.run([sys.executable, "-m", "venv", python], check=True)
    with new_database(engine, tmp_path) as database:
        environment = {"DATABASE_URL": database.url}
        if compose.exists():
            services = yaml.safe_load(compose.read_text(encoding="utf-8"))["services"]
            names = services["development"]["environment"]
            assert {name.rpartition("DATABASE_URL")[1] for name in names} == {"DATABASE_URL"}
            environment |= dict.fromkeys(names, SERVERS[engine]) | environment
        environment = {
            **bare_environment(),
            **dict.fromkeys(config["remoteEnv"], str(ENVIRONMENTS / engine)),
            "PATH": f"{python / 'bin'}{os.pathsep}{os.environ['PATH']}",
            **environment,
        }
        order = ("onCreateCommand", "updateContentCommand", "postCreateCommand")
        for command in (*(config[name] for name in order), f"uv run pytest -q {TEST}"):
            done = subprocess.run(
                ["/bin/sh", "-c", command],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert "users" in database.tables()

        launch = json.loads((folder / ".vscode/launch.json").read_text(encoding="utf-8"))
        port = free_port()
        for configuration in launch["configurations"]:
            assert configuration["type"] == "debugpy"
            started = ["uv", "run", "python", "-m", configuration["module"]]
            started += (arg.replace("${file}", TEST) for arg in configuration.get("args", ()))
            command = " ".join(started)
            if TEST in command:
                subprocess.run(["/bin/sh", "-c", command], cwd=folder, env=environment, check=True)
                continue
            url = f"http://127.0.0.1:{port}/readyz"
            with serving(command, folder, {**environment, "PORT": str(port)}, url):
                pass


def test_devcontainer_is_there_only_when_asked_for(template: Path, tmp_path: Path) -> None:
    folder = render(template, tmp_path / "service", {"database": "postgresql"})

    assert not (folder / ".devcontainer").exists()
    assert not (folder / ".vscode").exists()
    for page in (folder / "README.md", *(folder / "docs").iterdir()):
        assert "devcontainer" not in page.read_text(encoding="utf-8")


class Built(NamedTuple):
    """An engine's image, and the project that it was built from."""

    engine: str
    image: Image


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    images.require()
    with images.new_store() as store:
        yield store


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def built(
    request: pytest.FixtureRequest,
    store: Store,
    template: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Built:
    """Build the images for a file and for a server; MySQL's differs from the second's in no line."""
    engine: str = request.param
    folder = render(template, tmp_path_factory.mktemp("image") / engine, {"database": engine})
    uv(folder, "lock", "--quiet")
    for name, text in SECRETS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return Built(engine, store.build(folder, engine))


def test_images_for_servers_are_built_alike(template: Path, tmp_path: Path) -> None:
    texts = {
        (render(template, tmp_path / engine, {"database": engine}) / "Dockerfile").read_text(
            "utf-8"
        )
        for engine in ENGINES
        if engine != "sqlite"
    }
    assert len(texts) == 1


def test_image(built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It runs as a plain user on read-only files, is healthy, migrates, serves, and stops when told."""
    image = built.image
    with new_database(built.engine, tmp_path) as database:
        port = free_port()
        variables: dict[str, Any] = {"PORT": str(port)}
        if built.engine == "sqlite":
            variables["data"] = tmp_path / "data"
            variables["data"].mkdir()
            os.chown(variables["data"], 10001, 10001)
        else:
            variables["DATABASE_URL"] = database.url

        image.run("python", "-m", "src", "migrate", "upgrade", **variables)
        container = image.start(**variables)
        try:
            health = image.config["Healthcheck"]["Test"]
            assert health[0] == "CMD"
            wait_for(lambda: container.poll() is not None or ready(port))
            assert container.poll() is None, container.communicate()[0]
            image.run(*health[1:], **variables)
            status = Path(f"/proc/{images.process_1(container)}/status").read_text()
            assert re.search(r"^NSpid:\s+\d+\s+1$", status, re.MULTILINE)
            assert re.search(r"^Uid:\s+10001\s+10001\s+10001\s+10001$", status, re.MULTILINE)
            assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
            images.stop(container)
            output = container.communicate(timeout=5)[0]  # seconds; engines kill after 10
        finally:
            container.kill()
        assert container.returncode == 0, output
        assert '"event"' in output, "the logs are JSON"
        if built.engine == "sqlite":
            assert (variables["data"] / "db.sqlite3").is_file()
        else:
            assert "users" in database.tables()
        stopped = image.start(*health[1:], **variables)
        assert "refused" in stopped.communicate(timeout=60)[0]
        assert stopped.returncode == 1
    with capsys.disabled():
        size = image.size() / 1e6
        sys.stdout.write(f"\nthe image for {built.engine} has {size:.0f} MB, its base included\n")


def ready(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx2.TransportError:
        return False


def test_image_holds_what_it_runs_and_nothing_else(built: Built) -> None:
    root = built.image.root
    names = {path.relative_to(root).as_posix() for path in (root / "app").rglob("*")}

    assert {"app/src/main.py", "app/migrations/models"} <= names
    assert {name.split("/")[1] for name in names} == {"src", "migrations", "pyproject.toml"}
    assert not [name for name in names if ".env" in name or ".git" in name]
    assert any(name.startswith("app/src/__pycache__/main.") for name in names)
    for folder in ("usr/bin", "usr/local/bin", "opt/venv/bin"):
        for name in ("uv", "uvx", "gcc", "cc", "make", "pytest", "ruff"):
            assert not (root / folder / name).exists()
    assert not (root / "opt/uv").exists()
    assert not [path for path in (root / "app").rglob("*") if path.stat().st_uid != 0]


def test_image_says_what_it_is(built: Built) -> None:
    labels = built.image.config["Labels"]

    assert labels["org.opencontainers.image.title"] == "My Service"
    assert labels["org.opencontainers.image.licenses"] == "MIT"
    volumes = built.image.config.get("Volumes") or {}
    assert list(volumes) == (["/data"] if built.engine == "sqlite" else [])
