"""Which answers services are rendered with: so few that each two still meet, for each release."""

import random
from collections.abc import Iterator
from functools import cache
from itertools import combinations, pairwise
from typing import Any

from jinja2 import Environment, Template

from tools.releases import NEXT, Release, releases
from tools.render import REPOSITORY, Answers, git
from tools.tables import parse_questions

RELEASES = releases()
WORKING_TREE = Release(NEXT.removeprefix("v"), "")
PEOPLE: list[Answers] = [
    {"author_name": "Ada"},
    {"project_name": "Küche & Keller", "author_email": "ada@example.com"},
]


def asked(release: Release) -> dict[str, Any]:
    """Read the questions that a release, or the working tree, asks people."""
    if release == WORKING_TREE:
        text = (REPOSITORY / "copier.yml").read_text(encoding="utf-8")
    else:
        text = git(REPOSITORY, "show", f"{release.commit}:copier.yml")
    return {
        name: question
        for name, question in parse_questions(text).items()
        if not name.startswith("_") and question.get("when") is not False
    }


def options(release: Release) -> dict[str, list[str | bool]]:
    """List the answers to choose from, by question."""
    found: dict[str, list[str | bool]] = {"package_name": ["src", "app"]}
    for name, question in asked(release).items():
        if "choices" in question:
            found[name] = [*question["choices"].values()]
        elif question["type"] == "bool":
            found[name] = [True, False]
    return found


def given(answers: Answers, questions: dict[str, Any]) -> Answers:
    """Leave out the answers to questions that are not asked then."""
    return {
        name: answer
        for name, answer in answers.items()
        if "when" not in questions[name]
        or condition(questions[name]["when"]).render(answers) == "True"
    }


@cache
def condition(text: str) -> Template:
    return Environment(autoescape=True).from_string(text)


@cache
def matrix(release: Release) -> list[Answers]:
    """Choose combinations of a release's answers where each two that can be given together meet."""
    questions, choices = asked(release), options(release)
    chance = random.Random(0)  # the same for each release that asks the same
    rows: list[Answers] = []
    met: set[frozenset[tuple[str, str | bool]]] = set()
    widest = sorted(choices.items(), key=lambda choice: -len(choice[1]))
    for (one, ones), (other, others) in combinations(widest, 2):
        for pair in ({one: a, other: b} for a in ones for b in others):
            if frozenset(pair.items()) in met:
                continue
            tried = (
                {name: chance.choice(values) for name, values in choices.items()} | pair
                for _ in range(200)
            )
            rest = [row for row in (given(row, questions) for row in tried) if {*pair} <= {*row}]
            if rest:  # else nobody can give both
                best = max(rest, key=lambda row: len(pairs(row) - met))
                met |= pairs(best)
                rows.append({**best, **PEOPLE[len(rows) % len(PEOPLE)]})
    return rows


def pairs(answers: Answers) -> set[frozenset[tuple[str, str | bool]]]:
    return {frozenset(pair) for pair in combinations(answers.items(), 2)}


def switches() -> Iterator[tuple[str, str | bool, str | bool]]:
    """List for each question with a choice every value, with the next one, in a circle."""
    for name, values in options(WORKING_TREE).items():
        if name != "package_name":  # the folder's name is for good
            for old, new in pairwise([*values, values[0]]):
                yield name, old, new
