"""Render the template from the working tree."""

import argparse
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import copier

REPOSITORY = Path(__file__).parent.parent
ENGINES = ("sqlite", "postgresql", "mysql")

Answers = Mapping[str, str | bool]


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, without the user's configuration, and return what it prints.

    Raises:
        subprocess.CalledProcessError: git failed.
    """
    identity = ["-c", "user.name=Template", "-c", "user.email=template@example.com"]
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(
        ["git", *identity, "-c", "init.defaultBranch=main", *arguments],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def copy_working_tree(folder: Path) -> None:
    """Copy every file that git does not ignore, including uncommitted ones."""
    names = git(REPOSITORY, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in names.split("\0"):
        if name and (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)


@contextmanager
def snapshot() -> Iterator[Path]:
    """Commit the working tree to a temporary repository, and delete it afterwards.

    Copier records the commit that it renders, so a dirty checkout needs a commit first.
    """
    with tempfile.TemporaryDirectory(prefix="template-") as folder:
        copy = Path(folder) / "copier-fastapi-tortoise"
        copy_working_tree(copy)
        git(copy, "init", "--quiet")
        git(copy, "add", "--all", "--force")
        git(copy, "commit", "--quiet", "--message", "Snapshot")
        yield copy


def render(
    template: Path | str, folder: Path, answers: Answers | None = None, ref: str = "HEAD"
) -> Path:
    """Render a committed template with the defaults and some answers, without `--trust`.

    Args:
        template: a git repository with the template, or its URL.
        folder: where to render to.
        answers: the answers that differ from the defaults.
        ref: the tag or commit to render.

    Raises:
        ValueError: an answer is invalid.
    """
    copier.run_copy(
        str(template),
        folder,
        data=dict(answers or {}),
        defaults=True,
        quiet=True,
        settings=copier.Settings(),  # ignore the user's settings
        unsafe=False,
        vcs_ref=ref,
    )
    return folder


def update(
    folder: Path, answers: Answers | None = None, ref: str = "HEAD", answers_file: str | None = None
) -> None:
    """Update a rendered service in git, like `copier update --defaults`.

    Args:
        folder: the service.
        answers: the answers to change.
        ref: the tag or commit to update to.
        answers_file: that of a resource, to update it alone.
    """
    copier.run_update(
        folder,
        answers_file=answers_file,
        data=dict(answers or {}),
        defaults=True,
        overwrite=True,
        quiet=True,
        settings=copier.Settings(),
        unsafe=False,
        vcs_ref=ref,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Render the working tree's template to a folder.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("answers", nargs="*", metavar="name=value")
    options = parser.parse_args()
    answers = dict(answer.partition("=")[::2] for answer in options.answers)
    with snapshot() as template:
        try:
            render(template, options.folder, answers)
        except ValueError as error:
            parser.exit(2, f"{error}\n")
    print(options.folder)


if __name__ == "__main__":
    main()
