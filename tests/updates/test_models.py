"""When a release changes models, existing services migrate by themselves, and keep their rows."""

from pathlib import Path

from tools.releases import NEXT
from tools.render import update

from ..conftest import MakeService
from ..support.migrating import MIGRATE, applied
from ..support.services import Service
from .combinations import RELEASES
from .conftest import MODELS, Rendered
from .folders import commit, conflicts, take

# what differs for MySQL is the order of rows, which nobody asked for
USERS = "SELECT username, email, hashed_password FROM users ORDER BY id"
ROWS = [("ada", "ada@example.com", "-"), ("bob", "bob@example.com", "-")]


def fill(service: Service) -> None:
    """Make the tables as the release's own users did, and put rows into them."""
    service.run("aerich", "upgrade")
    for row in ROWS:
        service.database.query(f"INSERT INTO users (username, email, hashed_password) VALUES {row}")


def migrate(service: Service) -> None:
    """Do what the message after the update says, and see that it is said by `check` first."""
    before = applied(service)
    assert "new" in service.run(*MIGRATE, "check", status=1).stdout
    assert "Verified" in service.run(*MIGRATE, "new", "from_the_template").stdout
    assert "match the migrations" in service.run(*MIGRATE, "check").stdout
    service.upgrade()
    assert len(applied(service)) == len(before) + 1
    assert applied(service)[-1].endswith("_from_the_template.py")
    assert service.database.query(USERS) == ROWS


def test_changed_model_arrives(
    engine: str, rendered: Rendered, tmp_path: Path, make_service: MakeService
) -> None:
    service = make_service(engine, "installed")
    service.folder = take(rendered({"database": engine}, RELEASES[0].tag), tmp_path / "service")
    fill(service)

    update(service.folder, ref=MODELS)

    assert "motto" not in service.database.columns("users")
    migrate(service)
    assert "motto" in service.database.columns("users")


def test_accounts_come_to_a_service_with_users(
    engine: str, rendered: Rendered, tmp_path: Path, make_service: MakeService
) -> None:
    release = next(release for release in RELEASES if release.version == "0.2.0")
    service = make_service(engine, "installed")
    service.folder = take(rendered({"database": engine}, release.tag), tmp_path / "service")
    fill(service)

    update(service.folder, {"accounts": True}, ref=NEXT)

    assert conflicts(service.folder) == []
    migrate(service)
    assert {"users", "sessions", "link_tokens"} <= service.database.tables()
    flags = service.database.query("SELECT is_active, is_admin, is_verified FROM users")
    assert [tuple(map(bool, row)) for row in flags] == [(True, False, False)] * len(ROWS)
    commit(service.folder)
    # test_untouched.py runs all tests of such services
    tests = ("tests/test_auth.py", "tests/test_migrations.py")
    assert " passed" in service.run("pytest", "-q", "-p", "no:cacheprovider", *tests).stdout
