"""Hand-written migrations for a rendered service, and the command that runs them."""

import re
import time
from collections.abc import Callable

from .services import DEADLINE, Service

MIGRATE = ("python", "-m", "src", "migrate")
FIRST = "0_20261122000000_init.py"


def write_migration(
    service: Service,
    name: str,
    *up: str,
    down: tuple[str, ...] = (),
    in_transaction: bool = True,
    body: str = "",
    down_body: str = "",
    head: str = "",
    state: bool = True,
) -> str:
    """Write a migration file whose models are those of the first migration.

    Args:
        service: the rendered service.
        name: the file's name, without `.py`.
        up: the statements of its upgrade.
        down: the statements of its downgrade.
        in_transaction: its RUN_IN_TRANSACTION.
        body: what its function `upgrade(db)` does first.
        down_body: what its function `downgrade(db)` does first.
        head: a constant of the file, such as `UNVERIFIED`.
        state: whether it has a MODELS_STATE.

    Returns:
        The file's name.
    """
    folder = service.folder / "migrations" / "models"
    first = (folder / FIRST).read_text(encoding="utf-8")
    models_state = first[first.index("MODELS_STATE") :] if state else ""
    (folder / f"{name}.py").write_text(
        f"import asyncio\nfrom pathlib import Path\n\n"
        f"RUN_IN_TRANSACTION = {in_transaction}\n{head}\n\n"
        f"async def upgrade(db):\n{body}    return {'; '.join(up)!r}\n\n\n"
        f"async def downgrade(db):\n{down_body}    return {'; '.join(down)!r}\n\n\n{models_state}",
        encoding="utf-8",
    )
    return f"{name}.py"


def write_holding_migration(service: Service, name: str) -> str:
    """Write a migration that makes the tables `half` and `whole`, and halts between the two.

    It writes a file `reached` into the service's folder, and goes on when no file `halt` is there.
    """
    (service.folder / "halt").touch()
    half = "CREATE TABLE half (id INT)"
    before = () if service.database.engine != "mysql" else (half,)
    execute = "" if before else f"    await db.execute_query({half!r})\n"
    return write_migration(
        service,
        name,
        *before,
        "CREATE TABLE whole (id INT)",
        body=f"{execute}    Path('reached').touch()\n"
        "    while Path('halt').exists():\n        await asyncio.sleep(0.02)\n",
    )


def applied(service: Service) -> list[str]:
    """List the migrations in Aerich's table."""
    if "aerich" not in service.database.tables():
        return []
    return [
        str(name) for (name,) in service.database.query("SELECT version FROM aerich ORDER BY id")
    ]


def wait_until(true: Callable[[], object], what: str) -> None:
    """Wait until a condition is true.

    Raises:
        AssertionError: it was not within the deadline.
    """
    deadline = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < deadline, f"not within {DEADLINE:g} s: {what}"
        time.sleep(0.02)


def words(text: str) -> str:
    """Return a text with every white space made one blank."""
    return re.sub(r"\s+", " ", text)
