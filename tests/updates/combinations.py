"""Which answers services are rendered with: so few that each two still meet, for each release."""

import random
from collections.abc import Iterator
from functools import cache
from itertools import combinations, pairwise
from typing import Any, NamedTuple, Self

from jinja2 import Environment, Template

from tools.releases import NEXT, Release, releases
from tools.render import REPOSITORY, Answers, git
from tools.tables import is_of_service, parse_questions

RELEASES = releases()
WORKING_TREE = Release(NEXT.removeprefix("v"), "")
# what services are rendered at: the working tree stands for the next release
STARTS = [*RELEASES, WORKING_TREE]
NAMES: dict[str | bool, Answers] = {
    "src": {"author_name": "Ada"},
    "app": {"project_name": "Küche & Keller", "author_email": "ada@example.com"},
}
# Answers that render every file between them
EVERY_FILE: list[Answers] = [
    {"database": "sqlite", "ci": "gitlab", "devcontainer": True, "observability": True},
    {
        "database": "postgresql",
        "accounts": False,
        "jobs": "postgresql",
        "devcontainer": True,
        "deployment": "kubernetes",
    },
    {
        "database": "mysql",
        "jobs": "redis",
        "observability": True,
        "sentry": True,
        "deployment": "kubernetes",
    },
]


class Kind(NamedTuple):
    """The answers that decide which code a service has."""

    database: str
    accounts: bool
    observability: bool
    jobs: bool
    redis: bool

    def __str__(self) -> str:
        offers = (name for name in self._fields[1:] if getattr(self, name))
        return "-".join((self.database, *offers))

    @classmethod
    def of(cls, answers: Answers) -> Self:
        """Find the kind of a service; what its release does not ask it does not have."""
        return cls(
            str(answers["database"]),
            bool(answers.get("accounts", False)),
            bool(answers.get("observability", False)),
            answers.get("jobs", "none") != "none",
            answers.get("jobs") == "redis",
        )


@cache
def asked(release: Release) -> dict[str, Any]:
    """Read the questions that a release, or the working tree, asks people."""
    if release == WORKING_TREE:
        text = (REPOSITORY / "copier.yml").read_text(encoding="utf-8")
    else:
        text = git(REPOSITORY, "show", f"{release.commit}:copier.yml")
    return {
        name: question
        for name, question in parse_questions(text).items()
        if not name.startswith("_")
        and question.get("when") is not False
        and is_of_service(question)
    }


def options(release: Release) -> dict[str, list[str | bool]]:
    """List the answers to choose from, by question."""
    found: dict[str, list[str | bool]] = {"package_name": [*NAMES]}
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
    first = next(other for other in STARTS if asked(other) == questions)
    if first != release:
        return matrix(first)
    chance = random.Random(0)  # the same for each release that asks the same
    rows: list[Answers] = []
    met: set[frozenset[tuple[str, str | bool]]] = set()
    widest = sorted(choices.items(), key=lambda choice: -len(choice[1]))
    for (one, ones), (other, others) in combinations(widest, 2):
        for pair in ({one: a, other: b} for a in ones for b in others):
            if frozenset(pair.items()) in met:
                continue
            tried = (
                given(
                    named({name: chance.choice(values) for name, values in choices.items()} | pair),
                    questions,
                )
                for _ in range(200)
            )
            rest = [row for row in tried if pair.items() <= row.items() and is_accepted(row)]
            if rest:  # else nobody can give both
                best = max(rest, key=lambda row: len(pairs(row) - met))
                met |= pairs(best)
                rows.append({**best, **NAMES[best["package_name"]]})
    return rows


def is_accepted(answers: Answers) -> bool:
    """Tell whether the template accepts answers together: PgQueuer needs PostgreSQL."""
    return answers.get("jobs") != "postgresql" or answers["database"] == "postgresql"


def kinds() -> list[Kind]:
    """List the kinds of services that the matrices of all releases hold, the largest first."""
    found = {Kind.of(answers) for release in STARTS for answers in matrix(release)}
    return sorted(found, key=lambda kind: (-sum(kind[1:]), kind))


def named(answers: Answers) -> Answers:
    """Let what a service offers decide its names, so that there are fewer suites to run.

    Each name still meets each other answer.
    """
    if {"accounts", "observability"} <= answers.keys():
        alike = answers["accounts"] is answers["observability"]
        return {**answers, "package_name": "src" if alike else "app"}
    return answers


def pairs(answers: Answers) -> set[frozenset[tuple[str, str | bool]]]:
    return {frozenset(pair) for pair in combinations(answers.items(), 2)}


def switches() -> Iterator[tuple[str, str | bool, str | bool]]:
    """List for each question with a choice every value, with the next one, in a circle."""
    for name, values in options(WORKING_TREE).items():
        if name != "package_name":  # the folder's name is for good
            for old, new in pairwise([*values, values[0]]):
                yield name, old, new
