"""A resource is updated by its own answers file, and the service by its own, each alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.releases import NEXT, history
from tools.render import git, render, update

from ..support.resources import add
from .command import copier
from .edits import replace
from .folders import commit, conflicts, files, take

RESOURCE_FIXED = "v999.4.0"
FIELDS = "owner:user title:str(100)! status:enum(draft,paid)#=draft"
ORDERS = "src/orders/.copier-answers.yml"


@pytest.fixture(scope="module")
def repository() -> Iterator[Path]:
    """A repository whose next release fixes a resource's rules and tests, and the service's."""
    with history() as clone:
        (resource,) = (clone / "resource").glob("*/*/")
        replace(resource / "service.py.jinja", r"\A", '{# a fix #}"""Fixed."""\n')
        replace(resource / "router.py.jinja", r"the one in the body", "the one you read")
        (package,) = (clone / "template").glob("{{ package_name }}")
        replace(package / "shell.py", r"\A", "# fixed\n")
        git(clone, "commit", "--all", "--quiet", "--message", "Fix the resource")
        git(clone, "tag", RESOURCE_FIXED)
        yield clone


@pytest.fixture(scope="module")
def rendered(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = render(repository, tmp_path_factory.mktemp("rendered") / "service", {}, NEXT)
    for resource in ("order", "note"):
        add(repository, folder, resource, FIELDS, ref=NEXT)
    return folder


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    """List the paths that are new, gone or different."""
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}


def test_update_brings_fixes_into_an_edited_resource(rendered: Path, tmp_path: Path) -> None:
    service = take(rendered, tmp_path / "service")
    router, rules = service / "src/orders/router.py", service / "src/orders/service.py"
    replace(router, r'"60/minute"', '"5/minute"')
    replace(rules, r"\Z", "\n\nRULE = 1\n")
    replace(service / "src/main.py", r"\Z", "# the team's\n")
    (service / "src/orders/prices.py").write_text("PRICE = 1\n")
    commit(service)
    before = files(service)

    update(service, ref=RESOURCE_FIXED, answers_file=ORDERS)

    assert conflicts(service) == []
    after = files(service)
    paths = {"src/orders/router.py", "src/orders/service.py", ORDERS}
    assert changed(before, after) == paths
    assert b'"5/minute"' in after["src/orders/router.py"]
    assert b"the one you read" in after["src/orders/router.py"]
    assert after["src/orders/service.py"].startswith(b'"""Fixed."""\n')
    assert after["src/orders/service.py"].endswith(b"\n\nRULE = 1\n")


def test_field_is_added_to_an_edited_resource(rendered: Path, tmp_path: Path) -> None:
    service = take(rendered, tmp_path / "service")
    replace(service / "src/orders/router.py", r'"60/minute"', '"5/minute"')
    commit(service)
    before = files(service)

    fields = {"fields": f"{FIELDS} due:date#"}
    update(service, fields, ref=NEXT, answers_file=ORDERS)

    assert conflicts(service) == []
    after = files(service)
    names = ("models", "schemas", "router")
    paths = {*(f"src/orders/{name}.py" for name in names), ORDERS, "tests/test_orders.py"}
    assert changed(before, after) == paths
    assert b'"5/minute"' in after["src/orders/router.py"]
    assert b"    due = fields.DateField()\n" in after["src/orders/models.py"]


def test_recorded_name_that_is_refused_since_then_is_updated(
    rendered: Path, tmp_path: Path
) -> None:
    service = take(rendered, tmp_path / "service")
    replace(service / ORDERS, r"title:str", "page:int title:str")
    commit(service)
    before = files(service)

    update(service, ref=RESOURCE_FIXED, answers_file=ORDERS)

    paths = {"src/orders/router.py", "src/orders/service.py", ORDERS}
    assert changed(before, files(service)) == paths
    commit(service)
    with pytest.raises(ValueError, match="the name 'page' is in use"):
        update(service, {"fields": "page:int"}, RESOURCE_FIXED, ORDERS)


def test_resource_of_the_first_release_with_resources_becomes_a_fresh_one(
    rendered: Path, repository: Path, tmp_path: Path
) -> None:
    old = render(repository, tmp_path / "old", {}, "v1.0.0")
    add(repository, old, "order", FIELDS, ref="v1.0.0")
    service = take(old, tmp_path / "service")

    update(service, ref=NEXT)
    commit(service)
    update(service, ref=NEXT, answers_file=ORDERS)

    assert conflicts(service) == []
    paths = changed(files(service), files(rendered))
    assert [path for path in paths if "orders" in path] == []


def test_update_does_not_rename_a_resource(rendered: Path, tmp_path: Path) -> None:
    """The team's edits would stay behind."""
    service = take(rendered, tmp_path / "service")
    before = files(service)

    with pytest.raises(ValueError, match="Keep orders: or add a resource"):
        update(service, {"plural": "purchases"}, NEXT, ORDERS)

    assert files(service) == before


def test_update_in_the_folder_of_a_resource_is_refused(rendered: Path, tmp_path: Path) -> None:
    """As Renovate runs it. Copier alone changes the recorded release and nothing else."""
    service = take(rendered, tmp_path / "service")
    before = files(service)
    command = ("update", "--defaults", "--vcs-ref", RESOURCE_FIXED, "--answers-file")

    process = copier(*command, ".copier-answers.yml", cwd=service / "src" / "orders")

    assert process.returncode != 0
    assert process.stderr.splitlines()[-1].endswith(f"folder, with --answers-file {ORDERS}")
    assert files(service) == before


@pytest.mark.parametrize(
    ("command", "data", "says"),
    [
        # each of which would remove or overwrite the service
        (("update",), ("kind=resource", "resource=task", "fields=a:int"), "kind=resource"),
        (("update", "--answers-file", ORDERS), ("kind=service",), "kind=service"),
        (("recopy", "--overwrite", "--answers-file", ORDERS), ("kind=service",), "kind=service"),
    ],
)
def test_kind_cannot_change(
    command: tuple[str, ...],
    data: tuple[str, ...],
    says: str,
    rendered: Path,
    tmp_path: Path,
) -> None:
    service = take(rendered, tmp_path / "service")
    before = files(service)
    options = ["--defaults", "--vcs-ref", NEXT, *(f"--data={answer}" for answer in data)]

    process = copier(*command, *options, cwd=service)

    assert process.returncode != 0
    assert f"Leave out {says}: " in process.stderr.splitlines()[-1]
    assert files(service) == before


def test_update_of_the_service_leaves_resources_alone(rendered: Path, tmp_path: Path) -> None:
    service = take(rendered, tmp_path / "service")
    before = files(service)

    update(service, ref=RESOURCE_FIXED)

    assert conflicts(service) == []
    assert changed(before, files(service)) == {"src/shell.py", ".copier-answers.yml"}


def test_resource_that_was_removed_stays_away(rendered: Path, tmp_path: Path) -> None:
    service = take(rendered, tmp_path / "service")
    for path in files(service):
        if path.startswith("src/notes/") or path == "tests/test_notes.py":
            (service / path).unlink()
    commit(service)

    update(service, ref=RESOURCE_FIXED)
    commit(service)
    update(service, ref=RESOURCE_FIXED, answers_file=ORDERS)

    assert not [path for path in files(service) if "notes" in path]
