"""Write the table of questions in README.md from copier.yml."""

import re

import yaml

from .render import REPOSITORY

README = REPOSITORY / "README.md"
START, END = "<!-- questions: written by tools/questions_table.py -->", "<!-- /questions -->"


def table() -> str:
    """Make a Markdown table of the questions in copier.yml."""
    questions = yaml.safe_load((REPOSITORY / "copier.yml").read_text(encoding="utf-8"))
    rows = ["| Question | What it asks | Default |", "|---|---|---|"]
    for name, question in questions.items():
        if name.startswith("_") or question.get("when") is False:
            continue
        asks = question["help"]
        if "choices" in question:
            asks += " " + ", ".join(f"`{value}`" for value in question["choices"].values())
        default = {
            "project_slug": "from the name",
            "author_name": "`user_name` in Copier's settings, else from the name",
            "author_email": "`user_email` in Copier's settings, else none",
            "accounts": "`true`; `false` for a service that is older than the question",
        }.get(name, f"`{question['default']}`")
        rows.append(f"| `{name}` | {asks} | {default} |")
    return "\n".join(rows)


def with_table(readme: str) -> str:
    """Put the table between the two comments that mark its place."""
    pattern = f"{re.escape(START)}.*{re.escape(END)}"
    return re.sub(pattern, lambda _: f"{START}\n{table()}\n{END}", readme, flags=re.DOTALL)


def main() -> None:
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
    print(README.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
