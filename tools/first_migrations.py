"""Generate includes/first_migration/ from the template's models, for each engine.

Aerich writes the first migrations, and the service's `migrate new` the one of the tables of
`jobs=redis`.
"""

import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from .render import ENGINES, REPOSITORY, Answers, git, render, snapshot

FOLDER = REPOSITORY / "includes" / "first_migration"
NAMES = {False: "{}.py", True: "{}-accounts.py"}  # by the answer `accounts`
REDIS_NAMES = {False: "{}-redis.py", True: "{}-redis-accounts.py"}  # the migration of its tables
NO_SERVER = {
    "sqlite": {},
    "postgresql": {"DATABASE_URL": "postgresql://x:x@127.0.0.1/x"},
    "mysql": {"DATABASE_URL": "mysql://x:x@127.0.0.1/x"},
}


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
    environment = os.environ | NO_SERVER[engine]
    subprocess.run([*command, "init-migrations"], cwd=service, env=environment, check=True)
    (file,) = models.glob("0_*_init.py")
    return file.read_text(encoding="utf-8")


def jobs_migration(service: Path, engine: str, *command: str) -> str:
    """Generate the migration of the tables of `jobs=redis`, without a server.

    Args:
        service: the rendered service; that migration is replaced.
        engine: its database engine.
        command: the command that runs Python in that service.

    Returns:
        The text of the migration file.
    """
    models = service / "migrations" / "models"
    for file in models.glob("1_*_jobs.py"):
        file.unlink()
    environment = os.environ | NO_SERVER[engine]
    # without a server, it writes the migration, but cannot verify it
    new = [*command, "-m", "src", "migrate", "new", "jobs"]
    subprocess.run(new, cwd=service, env=environment, check=False, capture_output=True)
    (file,) = models.glob("1_*_jobs.py")
    return file.read_text(encoding="utf-8")


def main() -> None:
    with snapshot() as template, tempfile.TemporaryDirectory() as folder:
        for engine, accounts, jobs in itertools.product(ENGINES, NAMES, ("none", "redis")):
            names = NAMES if jobs == "none" else REDIS_NAMES
            file = FOLDER / names[accounts].format(engine)
            if not file.exists():  # the render includes it
                file.touch()
                shutil.copy2(file, template / file.relative_to(REPOSITORY))
                git(template, "add", "--all", "--force")
                git(template, "commit", "--quiet", "--message", "Begin")
            answers: Answers = {"database": engine, "accounts": accounts, "jobs": jobs}
            service = render(template, Path(folder) / file.stem, answers)
            run = ("uv", "run", "--quiet")
            if jobs == "none":
                text = first_migration(service, engine, *run, "aerich")
            else:
                text = jobs_migration(service, engine, *run, "python")
            is_same = file.read_text(encoding="utf-8") == text
            print(f"{file.relative_to(REPOSITORY)}: {'unchanged' if is_same else 'written'}")
            file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
