"""Write the tables in docs/ and in the service's docs/developing.md."""

import json
import re
from typing import Any

import yaml

from .render import REPOSITORY

DOCS = REPOSITORY / "docs"
PAGES = (DOCS / "reference/questions.md", DOCS / "reference/ownership.md", DOCS / "support.md")
INCLUDED = REPOSITORY / "includes" / "ownership.md"


# files that depend on answers
CHOSEN = {
    "accounts": ("src/seed.py", "src/auth/mails/*.txt"),
    "jobs != 'none'": ("src/jobs/config.py",),
    "container": ("Dockerfile", ".dockerignore", "compose.yaml"),
    "devcontainer": (".devcontainer/*",),
    "observability": ("observability/*",),
    "ci == 'github'": (".github/workflows/ci.yml",),
    "ci == 'github' and container": (".github/workflows/publish.yml",),
    "ci == 'gitlab'": (".gitlab-ci.yml",),
    "deployment == 'kubernetes'": ("deploy/*",),
}


def owned_by(owner: str) -> list[str]:
    """List the files of an owner: `team` or `shared`."""
    text = (REPOSITORY / "ownership" / f"{owner}.yml").read_text(encoding="utf-8")
    return [path.removeprefix("/") for path in yaml.safe_load(text)]


def ownership_table(*, jinja: bool = False) -> str:
    """Return a Markdown table of the owners of a service's files.

    Args:
        jinja: whether to put files that depend on answers into conditions.
    """
    conditions = {path: answer for answer, paths in CHOSEN.items() for path in paths if jinja}
    files = {}
    for owner in ("team", "shared"):
        paths = owned_by(owner)
        files[owner] = ", ".join(f"`{path}`" for path in paths)
        for path in paths:
            if path in conditions:
                item = f", `{path}`"
                chosen = f"{{% if {conditions[path]} %}}{item}{{% endif %}}"
                files[owner] = files[owner].replace(item, chosen)
    return f"""\
| Owner | Files | What an update does |
|---|---|---|
| your team | {files["team"]} | It never changes them |
| shared | {files["shared"]} | It merges the template's changes with yours |
| the template | everything else | It applies the template's changes. Avoid edits in these files |"""


def parse_questions(text: str) -> dict[str, Any]:
    """Parse the text of a copier.yml; included files are read as their names."""
    questions: dict[str, Any] = yaml.safe_load(text.replace("!include ", ""))
    return questions


def is_of_service(question: Any) -> bool:
    """Return whether a question is asked for a service, and not for a resource only."""
    return not (isinstance(question, dict) and "kind == 'resource'" in str(question.get("when")))


def load_questions() -> dict[str, Any]:
    """Read this copier.yml."""
    return parse_questions((REPOSITORY / "copier.yml").read_text(encoding="utf-8"))


def questions_table() -> str:
    """Return a Markdown table of the questions in copier.yml."""
    questions = load_questions()
    rows = ["| Question | What it asks | Default |", "|---|---|---|"]
    for name, question in questions.items():
        if name.startswith("_") or question.get("when") is False or not is_of_service(question):
            continue
        asks = question["help"]
        if "choices" in question:
            asks += " " + ", ".join(f"`{value}`" for value in question["choices"].values())
        usual = question["default"]
        default = {
            "project_slug": "from `project_name`",
            "author_name": "`user_name` in Copier's settings, else from `project_name`",
            "author_email": "`user_email` in Copier's settings, else none",
            "accounts": "`true`; `false` for services created before this question",
            "container": "`true`; `false` for services created before this question",
            "ci": "`github`; `none` for services created before this question",
        }.get(name, f"`{str(usual).lower() if isinstance(usual, bool) else usual}`")
        rows.append(f"| `{name}` | {asks} | {default} |")
    return "\n".join(rows)


PRODUCTS = {
    "python": "Python",
    "sqlite": "SQLite",
    "postgresql": "PostgreSQL",
    "mysql": "MySQL",
    "mariadb": "MariaDB",
}


def load_versions() -> dict[str, Any]:
    """Read the supported versions, and the versions of images in rendered files."""
    text = (REPOSITORY / "includes" / "versions.json").read_text(encoding="utf-8")
    versions: dict[str, Any] = json.loads(text)
    return versions


def versions_table() -> str:
    """Return a Markdown table of the oldest and newest tested versions."""
    rows = ["| Product | Oldest | Newest |", "|---|---|---|"]
    versions = load_versions()
    for key, product in PRODUCTS.items():
        supported = versions[key]["supported"]
        rows.append(f"| {product} | {supported[0]} | {supported[-1]} |")
    return "\n".join(rows)


def with_tables(page: str) -> str:
    """Insert the tables between the comments that mark their places."""
    for name, table in (
        ("questions", questions_table()),
        ("ownership", ownership_table()),
        ("versions", versions_table()),
    ):
        start, end = (
            re.search(mark, page) for mark in (rf"<!-- {name}: .* -->\n", f"<!-- /{name} -->")
        )
        if start and end:
            page = f"{page[: start.end()]}{table}\n{page[end.start() :]}"
    return page


def included() -> str:
    """Return the ownership table for the service's docs/developing.md."""
    return ownership_table(jinja=True).replace("`src/", "`{{ package_name }}/") + "\n"


def main() -> None:
    for page in PAGES:
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
    INCLUDED.write_text(included(), encoding="utf-8")
    for file in (*PAGES, INCLUDED):
        print(file.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
