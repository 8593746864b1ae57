"""Build the documentation's site, with the pages of a rendered service."""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .render import REPOSITORY, Answers, render, snapshot

DOCS = REPOSITORY / "docs"
ROOT_PAGES = ("CHANGELOG.md", "SECURITY.md")  # which pages in docs/ link to
ENVIRONMENT = REPOSITORY / "build" / "environments" / "site"
SERVICE: Answers = {
    "database": "postgresql",
    "observability": True,
    "sentry": True,
    "deployment": "kubernetes",
}
SERVICE_PAGES = (  # as they are in the service's docs/, and linked from there
    "first-resource.md",
    "developing.md",
    "migrations.md",
    "accounts.md",
    "configuration.md",
    "operations.md",
    "../deploy/README.md",
)
NOTE = "*This page is from a service on PostgreSQL with all options. Yours suits your answers.*"


def menu(index: str) -> str:
    """Return the menu of the site in Sphinx's syntax, from the links in docs/index.md."""
    sections = re.findall(r"^## (.+)\n\n((?:- .+\n)+)", index, re.MULTILINE)
    parts = [(title, re.findall(r"\]\(([\w/.-]+\.md)\)", links)) for title, links in sections]
    parts.append(("A rendered service", [f"service/{page}" for page in SERVICE_PAGES]))
    parts.append(("Project", [*ROOT_PAGES]))
    return "\n".join(
        "\n".join(["```{toctree}", ":hidden:", f":caption: {title}", "", *pages, "```"])
        for title, pages in parts
    )


def stage(folder: Path) -> None:
    """Copy the pages of this repository and of a service to a folder, as Sphinx needs them."""
    shutil.copytree(DOCS, folder, dirs_exist_ok=True)
    for page in folder.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        page.write_text(re.sub(r"\]\((?:\.\./)+([A-Z]+\.md)", r"](/\1", text), encoding="utf-8")
    for name in ROOT_PAGES:
        text = (REPOSITORY / name).read_text(encoding="utf-8")
        (folder / name).write_text(text.replace("](docs/", "]("), encoding="utf-8")
    with snapshot() as template, tempfile.TemporaryDirectory() as rendered:
        service = render(template, Path(rendered), SERVICE)
        for name in SERVICE_PAGES:
            text = (service / "docs" / name).read_text(encoding="utf-8")
            heading, _, rest = text.partition("\n")
            page = folder / "service" / name
            page.parent.mkdir(exist_ok=True)
            page.write_text(f"{heading}\n\n{NOTE}\n{rest}", encoding="utf-8")
    with (folder / "index.md").open("a", encoding="utf-8") as index:
        index.write(f"\n{menu((DOCS / 'index.md').read_text(encoding='utf-8'))}\n")


def build(source: Path, output: Path) -> int:
    """Build the site with Sphinx, and return its exit status: a warning is an error."""
    uv = (sys.executable, "-m", "uv", "run", "--quiet", "--only-group", "docs")
    sphinx = ("sphinx-build", "--quiet", "--fail-on-warning", "--keep-going", "--fresh-env")
    return subprocess.run(
        [*uv, *sphinx, source, output],
        cwd=REPOSITORY,
        env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(ENVIRONMENT)},
        check=False,
    ).returncode


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the documentation's site.")
    parser.add_argument("output", type=Path, nargs="?", default=REPOSITORY / "build" / "site")
    output = parser.parse_args().output.resolve()
    with tempfile.TemporaryDirectory(prefix="site-") as folder:
        stage(Path(folder))
        status = build(Path(folder), output)
    if status:
        sys.exit("Fix the warnings above: the site was not built")
    print(output)


if __name__ == "__main__":
    main()
