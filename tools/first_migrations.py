"""Generate includes/first_migration/ from the template's models with Aerich, for each engine."""

import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from .render import ENGINES, REPOSITORY, Answers, git, render, snapshot

FOLDER = REPOSITORY / "includes" / "first_migration"
NAMES = {False: "{}.py", True: "{}-accounts.py"}  # by the answer `accounts`
NO_SERVER = {"postgresql": "postgresql://x:x@127.0.0.1/x", "mysql": "mysql://x:x@127.0.0.1/x"}


def first_migration(service: Path, engine: str, *command: str) -> str:
    """Generate the first migration of a rendered service with Aerich, without a server.

    Args:
        service: the rendered service; its migrations are deleted first.
        engine: its database engine.
        command: the command that runs Aerich in that service.

    Returns:
        The text of the migration file.
    """
    models = service / "migrations" / "models"
    shutil.rmtree(models)
    environment = dict(os.environ)
    if engine in NO_SERVER:
        environment["DATABASE_URL"] = NO_SERVER[engine]
    subprocess.run([*command, "init-migrations"], cwd=service, env=environment, check=True)
    (file,) = models.glob("0_*_init.py")
    return file.read_text(encoding="utf-8")


def main() -> None:
    with snapshot() as template, tempfile.TemporaryDirectory() as folder:
        for engine, accounts in itertools.product(ENGINES, NAMES):
            file = FOLDER / NAMES[accounts].format(engine)
            if not file.exists():  # the render includes it
                file.touch()
                shutil.copy2(file, template / file.relative_to(REPOSITORY))
                git(template, "add", "--all", "--force")
                git(template, "commit", "--quiet", "--message", "Begin")
            answers: Answers = {"database": engine, "accounts": accounts}
            service = render(template, Path(folder) / file.stem, answers)
            text = first_migration(service, engine, "uv", "run", "--quiet", "aerich")
            print(
                f"{file.relative_to(REPOSITORY)}: {'unchanged' if file.read_text(encoding='utf-8') == text else 'written'}"
            )
            file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
