"""Render the examples into a repository, or update them there, with a commit for each."""

import argparse
from pathlib import Path

from .render import Answers, git, render, update

EXAMPLES: dict[str, Answers] = {
    "default": {"project_name": "Default", "author_name": "The authors"},
    "full": {
        "project_name": "Full",
        "author_name": "The authors",
        "database": "postgresql",
        "jobs": "postgresql",
        "devcontainer": True,
        "observability": True,
        "deployment": "kubernetes",
    },
}


def publish(template: str, release: str, repository: Path) -> None:
    """Bring all examples to a release, and commit each.

    Args:
        template: the URL of the template, which updates of the examples use later.
        release: the tag of the release.
        repository: a git repository, which may be empty.
    """
    for name, answers in EXAMPLES.items():
        folder = repository / name
        if folder.exists():
            update(folder, ref=release)
            subject = f"Update {name} to {release}"
        else:
            render(template, folder, answers, release)
            subject = f"Render {name} from {release}"
        git(repository, "add", "--all")
        if git(repository, "status", "--porcelain"):
            git(repository, "commit", "--quiet", "--message", subject)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("template", help="URL of the template")
    parser.add_argument("release", help="tag of the release")
    parser.add_argument("repository", type=Path, help="clone of the repository with the examples")
    options = parser.parse_args()
    publish(options.template, options.release, options.repository)


if __name__ == "__main__":
    main()
