"""The manifests are what Kubernetes takes, and what its strictest rules for pods ask for."""

import re
import shutil
import subprocess
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_validate.utils import validate

from tools.render import Answers, render

from .support.databases import REQUIRED

VERSIONS = ("1.34", "1.35", "1.36", "1.37")  # those that Kubernetes maintains
ENVIRONMENTS = ("staging", "production")
# what Kubernetes allows at most in the names of Services and in labels
LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
KUBERNETES: Answers = {"deployment": "kubernetes", "container": True}

Manifest = dict[str, Any]


def build(folder: Path) -> list[Manifest]:
    """Build a kustomization as `kubectl apply -k` does."""
    command = ["kustomize"] if shutil.which("kustomize") else ["kubectl", "kustomize"]
    if not shutil.which(command[0]):
        (pytest.fail if REQUIRED else pytest.skip)("neither kustomize nor kubectl is installed")
    process = subprocess.run(
        [*command, *(["build"] if command == ["kustomize"] else []), str(folder)],
        text=True,
        capture_output=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert not process.stderr, "a warning: something in it is deprecated"
    return list(yaml.safe_load_all(process.stdout))


def only(manifests: list[Manifest], kind: str) -> Manifest:
    found = [manifest for manifest in manifests if manifest["kind"] == kind]
    assert len(found) == 1
    return found[0]


@pytest.fixture(params=["postgresql", "mysql"], scope="module")
def deployed(
    request: pytest.FixtureRequest, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    answers = {**KUBERNETES, "database": request.param, "project_name": "Order Desk"}
    return render(template, tmp_path_factory.mktemp("deployed") / "service", answers)


@pytest.fixture
def deploy(deployed: Path, tmp_path: Path) -> Path:
    """The folder of the manifests for a service on each database server."""
    return shutil.copytree(deployed, tmp_path / "service") / "deploy"


@pytest.fixture(params=ENVIRONMENTS)
def environment(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_kubernetes_takes_every_manifest(deploy: Path, environment: str) -> None:
    for kustomization in (deploy / environment, deploy / environment / "migration"):
        for manifest in build(kustomization):
            for version in VERSIONS:
                validate(manifest, version, strict=True)


def test_migration_and_servers_share_image_namespace_and_secrets(
    deploy: Path, environment: str
) -> None:
    servers = build(deploy / environment)
    migration = build(deploy / environment / "migration")
    assert {manifest["metadata"].get("namespace") for manifest in servers + migration} == {
        f"order-desk-{environment}",
        None,  # the Namespace itself
    }
    pods = [
        only(servers, "Deployment")["spec"]["template"]["spec"],
        only(migration, "Job")["spec"]["template"]["spec"],
    ]
    images = {container["image"] for pod in pods for container in pod["containers"]}
    assert images == {"registry.example.com/order-desk:0.1.0"}
    secrets = [
        [source["secretRef"] for source in pod["containers"][0]["envFrom"] if "secretRef" in source]
        for pod in pods
    ]
    # the later one goes before: the job migrates as the owner, whom the servers do not know
    assert secrets == [
        [{"name": "order-desk"}],
        [{"name": "order-desk"}, {"name": "order-desk-migration"}],
    ]
    assert "Secret" not in {manifest["kind"] for manifest in servers + migration}
    command = only(migration, "Job")["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command == ["python", "-m", "src", "migrate", "upgrade"]


def test_pods_are_restricted(deploy: Path, environment: str) -> None:
    """The profile `restricted` of Kubernetes' Pod Security Standards, control by control."""
    servers = build(deploy / environment)
    namespace = only(servers, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    migration = only(build(deploy / environment / "migration"), "Job")
    for template in (only(servers, "Deployment"), migration):
        pod = template["spec"]["template"]["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert all("emptyDir" in volume for volume in pod.get("volumes", []))
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["readOnlyRootFilesystem"] is True
            assert not any("hostPort" in port for port in container.get("ports", []))


def test_workers_run_beside_the_servers(template: Path, tmp_path: Path, environment: str) -> None:
    """They run the same image, get no requests, and have their own autoscaler."""
    answers: Answers = {**KUBERNETES, "database": "postgresql", "jobs": "postgresql"}
    deploy = render(template, tmp_path / "service", answers) / "deploy"
    manifests = build(deploy / environment)
    server, worker = (manifest for manifest in manifests if manifest["kind"] == "Deployment")

    assert worker["metadata"]["name"] == f"{server['metadata']['name']}-worker"
    for manifest in manifests:
        validate(manifest, VERSIONS[-1], strict=True)
    labels = worker["spec"]["template"]["metadata"]["labels"].items()
    assert worker["spec"]["selector"]["matchLabels"].items() <= labels
    assert not only(manifests, "Service")["spec"]["selector"].items() <= labels
    assert only(manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= labels
    budgets = [manifest for manifest in manifests if manifest["kind"] == "PodDisruptionBudget"]
    selected = [budget["spec"]["selector"]["matchLabels"].items() <= labels for budget in budgets]
    assert selected == [False, True]
    scalers = [manifest for manifest in manifests if manifest["kind"] == "HorizontalPodAutoscaler"]
    for deployment, scaler in zip((server, worker), scalers, strict=True):
        assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
        assert "replicas" not in deployment["spec"], "kubectl apply would undo the autoscaler"
    guide = (deploy / "README.md").read_text(encoding="utf-8")
    largest = yaml.safe_load_all((deploy / "base" / "autoscaler.yaml").read_text(encoding="utf-8"))
    connections = [(scaler["spec"]["maxReplicas"] + 1) * 10 for scaler in largest]
    assert f"makes {sum(connections)} connections" in guide
    pods = [deployment["spec"]["template"]["spec"] for deployment in (server, worker)]
    assert pods[0]["securityContext"] == pods[1]["securityContext"]
    (serves,), (works,) = (pod["containers"] for pod in pods)
    assert works["command"] == ["python", "-m", "src", "worker"]
    for same in ("image", "envFrom", "securityContext", "livenessProbe"):
        assert works[same] == serves[same]


def test_everything_selects_the_servers(deploy: Path, environment: str) -> None:
    manifests = build(deploy / environment)
    deployment = only(manifests, "Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"].items()
    assert deployment["selector"]["matchLabels"].items() <= labels
    assert only(manifests, "Service")["spec"]["selector"].items() <= labels
    for kind, selector in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        assert only(manifests, kind)["spec"][selector]["matchLabels"].items() <= labels
    for spread in deployment["template"]["spec"]["topologySpreadConstraints"]:
        assert spread["labelSelector"]["matchLabels"].items() <= labels
    target = only(manifests, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert target["name"] == only(manifests, "Deployment")["metadata"]["name"]
    migration = only(build(deploy / environment / "migration"), "Job")
    pod = migration["spec"]["template"]["metadata"]["labels"].items()
    assert only(manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= pod
    assert not only(manifests, "Service")["spec"]["selector"].items() <= pod


def test_finished_migration_is_removed_later(deploy: Path, environment: str) -> None:
    job = only(build(deploy / environment / "migration"), "Job")["spec"]
    assert job["ttlSecondsAfterFinished"] >= 3600


@pytest.mark.parametrize("accounts", [True, False])
@pytest.mark.parametrize("more", [True, False])
@pytest.mark.parametrize(("database", "port"), [("postgresql", 5432), ("mysql", 3306)])
def test_pods_reach_only_what_was_chosen(
    accounts: bool,
    more: bool,
    database: str,
    port: int,
    template: Path,
    tmp_path: Path,
) -> None:
    answers: Answers = {**KUBERNETES, "database": database, "accounts": accounts}
    answers = {**answers, "observability": more, "sentry": more}
    deploy = render(template, tmp_path / "service", answers) / "deploy"
    policy = only(build(deploy / "production"), "NetworkPolicy")
    validate(policy, VERSIONS[-1], strict=True)
    public, private = set(), set()
    for rule in policy["spec"]["egress"]:
        ports = {port["port"] for port in rule["ports"]}
        blocks = [peer["ipBlock"]["cidr"] for peer in rule.get("to", []) if "ipBlock" in peer]
        assert all(ip_network(block).is_private for block in blocks)
        if "to" in rule:
            private |= ports
        else:
            public |= ports
    assert private == {53, port, *([6379] if accounts else []), *([4318] if more else [])}
    assert public == {*([465, 587] if accounts else []), *([443] if more else [])}


def test_guide_shows_encrypted_connections(deploy: Path) -> None:
    guide = (deploy / "README.md").read_text(encoding="utf-8")
    shown = dict(
        line.split("=", 1) for line in guide.partition("```ini\n")[2].partition("```")[0].split()
    )
    assert "=verify" in shown["DATABASE_URL"]
    assert shown["REDIS_URL"].startswith("rediss://")


def test_a_changed_setting_restarts_the_pods(deploy: Path) -> None:
    def config() -> str:
        pod = only(build(deploy / "production"), "Deployment")["spec"]["template"]["spec"]
        return str(pod["containers"][0]["envFrom"][0]["configMapRef"]["name"])

    before = config()
    with (deploy / "base" / "config.env").open("a") as file:
        file.write("LOG_LEVEL=WARNING\n")
    assert config() != before


def test_guide_names_what_is_there(deploy: Path) -> None:
    guide = (deploy / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"deploy/(\S+)", guide):
        assert (deploy / name.rstrip(".`")).exists()
    manifests = [*build(deploy / "production"), *build(deploy / "production" / "migration")]
    names = {f"{m['kind'].lower()}/{m['metadata']['name']}" for m in manifests}
    assert set(re.findall(r"(?:job|deployment)/[\w-]+", guide)) <= names
    assert set(re.findall(r"--namespace (\S+)", guide)) == {
        only(manifests[:1], "Namespace")["metadata"]["name"]
    }


KUBECTL = """\
#!/bin/sh
echo "$1" >>calls
case "$1" in
get) if [ -e asked ]; then echo "$STATE"; fi; touch asked ;;
logs) echo "what the migration said" ;;
wait) [ "$STATE" = Complete ] ;;
esac
"""


@pytest.mark.parametrize("state", ["Complete", "Failed"])
def test_guide_stops_at_a_failed_migration(state: str, deploy: Path, tmp_path: Path) -> None:
    """As a pipeline runs it, with a kubectl that knows how the job ended when it is asked again."""
    command = tmp_path / "bin" / "kubectl"
    command.parent.mkdir()
    command.write_text(KUBECTL)
    command.chmod(0o755)
    release = (deploy / "README.md").read_text(encoding="utf-8").partition("## Each release")[2]
    steps = re.findall(r"^\$ (kubectl.*|until.*)", release, re.MULTILINE)

    process = subprocess.run(
        ["/bin/sh", "-e", "-c", "\n".join(steps)],
        cwd=tmp_path,
        env={"PATH": f"{command.parent}:/usr/bin:/bin", "STATE": state},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "what the migration said" in process.stdout
    assert (process.returncode == 0) == (state == "Complete")
    calls = (tmp_path / "calls").read_text().split()
    after = ["apply", "rollout"] if state == "Complete" else []
    assert calls == ["delete", "apply", "get", "get", "logs", "wait", *after]


def test_git_ignores_the_secrets(deploy: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=deploy.parent, check=True)
    for place in (deploy.parent, deploy):
        for name in ("secrets.env", "migration-secrets.env"):
            (place / name).write_text("SMTP_URL=smtp://user:password@mail.example.com\n")
    command = ["git", "status", "--porcelain", "--untracked-files=all"]
    process = subprocess.run(command, cwd=deploy.parent, check=True, capture_output=True, text=True)
    assert "deploy/README.md" in process.stdout
    assert "secrets.env" not in process.stdout


@pytest.mark.parametrize("slug", ["U", "x" * 100, "1st.Order_desk", "a" * 39 + "-b"])
def test_names_are_what_kubernetes_allows(slug: str, template: Path, tmp_path: Path) -> None:
    answers: Answers = {**KUBERNETES, "database": "postgresql", "project_slug": slug}
    deploy = render(template, tmp_path / "service", answers) / "deploy"
    for manifest in [*build(deploy / "production"), *build(deploy / "production" / "migration")]:
        assert LABEL.fullmatch(manifest["metadata"]["name"]), manifest["metadata"]["name"]
        validate(manifest, VERSIONS[-1], strict=True)


@pytest.mark.parametrize(
    ("answers", "way_out"),
    [({"database": "sqlite"}, "database=postgresql"), ({"container": False}, "container=true")],
)
def test_it_needs_a_server_and_an_image(
    answers: Answers, way_out: str, template: Path, tmp_path: Path
) -> None:
    answers = {**KUBERNETES, "database": "postgresql", **answers}
    with pytest.raises(ValueError, match=way_out):
        render(template, tmp_path / "service", answers)
    assert not (tmp_path / "service").exists()
