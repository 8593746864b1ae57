"""Valid answers render, others are refused with a message that starts with the fix."""

import ast
import os
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import copier
import pexpect
import pytest
import yaml

from tools.render import render
from tools.reserved_names import installed, read
from tools.tables import load_questions

from .conftest import MakeService

QUESTIONS = load_questions()

BAD_TEXTS = [
    "",
    "   ",
    " My Service",
    'The "Best" Service',
    "back\\slash",
    "two\nlines",
    "two\u2028lines",
    "tab\there",
    "bell\x07",
    "right-to-left \u202e override",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "{# comment",
    "x" * 101,
]
BAD = {
    "project_name": BAD_TEXTS,
    "project_description": BAD_TEXTS,
    "author_name": BAD_TEXTS,
    "project_slug": [
        *("", " ", "-a", "a-", "a b", "a/b", "ä", "a\n", "{{ a }}", "x" * 101, "fastapi"),
        *("Tortoise_ORM", "aerich"),
    ],
    "package_name": [
        *("", " ", "1a", "a-b", "a.b", "a b", "größe", "a\n", "x" * 41, "class", "True", "json"),
        *("asyncio", "fastapi", "tortoise", "Aerich", "asyncpg", "asyncmy", "tests", "migrations"),
        *("Tests", "dockerfile", "License"),
    ],
    "author_email": [
        *("ada", "@example.com", "ada@", "ada@example", "a b@example.com", "ada@example.com\n"),
        *('"a"@example.com', "ada@exa_mple.com", "ada@-example.com", "a" * 96 + "@b.de", "ä@b.de"),
    ],
    "license": ["GPL", ""],
    "database": ["oracle", "", "SQLite"],
}
GOOD = {
    "project_name": [
        *(
            "Überraschung & Söhne",
            "Ada's Service",
            "日本語",
            "A",
            "*Star* <b>_x_</b> #1 | $HOME `x`",
        ),
        *("fastapi", "100 % {Service}: yes # no", "x" * 100, "- dash", "Rock 'n' Roll 🎸"),
    ],
    "project_slug": ["a", "a.b_c-d", "My-Service9"],
    "package_name": ["a", "order_desk", "OrderDesk", "app"],
    "author_name": ["O'Hara", "Jürgen <j>", "李"],
    "author_email": ["", "ada@example.com", "a.b+c@sub.example.co", "o'hara@example.com"],
    "license": ["MIT", "Apache-2.0", "BSD-3-Clause", "proprietary"],
    "project_description": ["It's 100 % <fast> & *good*: # yes", "{braces} 'quotes'"],
}


def flat(answers: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(question, answer) for question, values in answers.items() for answer in values]


@pytest.mark.parametrize(("question", "answer"), flat(BAD))
def test_bad_answer_is_refused(question: str, answer: str, template: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=question) as error:
        render(template, tmp_path / "service", {question: answer})

    assert not (tmp_path / "service").exists()
    if "validator" in QUESTIONS[question]:
        fix = str(error.value).partition("': ")[2]
        assert fix.startswith(("Enter ", "Remove ", "Use "))
        assert len(str(error.value)) <= 80  # a terminal shows one line


@pytest.mark.parametrize("name", [name for name in QUESTIONS if "help" in QUESTIONS[name]])
def test_question_fits_80_columns(name: str) -> None:
    """Beside Copier's mark, and the hint that follows: `(Y/n)` or `(Use arrow keys)`."""
    question = QUESTIONS[name]
    hint = "(Use arrow keys)" if "choices" in question else "(Y/n)"
    assert len(f"?? {question['help']} {hint}") <= 80


@cache
def check_syntax(source: str, name: str) -> None:
    """Compile a module; most are the same whatever the answers, and are compiled once."""
    compile(source, name, "exec")


@pytest.mark.parametrize(("question", "answer"), flat(GOOD))
def test_good_answer_lands_safely(
    question: str, answer: str, template: Path, tmp_path: Path
) -> None:
    folder = render(template, tmp_path / "service", {question: answer})

    answers = yaml.safe_load((folder / ".copier-answers.yml").read_text(encoding="utf-8"))
    assert answers[question] == answer
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    package = folder / str(answers["package_name"])
    for file in folder.rglob("*.py"):
        check_syntax(file.read_text(encoding="utf-8"), file.name)
    main = ast.parse((package / "main.py").read_text(encoding="utf-8"))
    constants = {node.value for node in ast.walk(main) if isinstance(node, ast.Constant)}
    assert {answers["project_name"], answers["project_description"]} <= constants
    assert project["name"] == answers["project_slug"]
    assert project["description"] == answers["project_description"]
    assert project["authors"][0]["name"] == answers["author_name"]
    assert project["authors"][0].get("email", "") == answers["author_email"]


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("My Service", "my-service"),
        ("Überraschung & Söhne", "ueberraschung-soehne"),
        ("Ada's Café", "adas-cafe"),
        ("日本語", "my-service"),
        ("FastAPI", "fastapi-service"),
        ("--x--", "x"),
    ],
)
def test_slug_comes_from_the_name(name: str, slug: str, template: Path, tmp_path: Path) -> None:
    folder = render(template, tmp_path / "service", {"project_name": name})

    assert f'name = "{slug}"\n' in (folder / "pyproject.toml").read_text(encoding="utf-8")


def test_every_question_is_typed_and_explained() -> None:
    for name, question in QUESTIONS.items():
        if not name.startswith("_") and question.get("when", True):
            assert {"type", "help", "default"} <= question.keys(), name
            checked = "validator" in question or "choices" in question
            assert checked or question["type"] == "bool", name


def test_reserved_names_cover_this_python_and_the_tools_environment() -> None:
    listed, found = read(), installed(sys.executable)

    assert listed.keys() == found.keys()
    for kind in ("keywords", "standard_library"):
        assert set(found[kind]) <= set(listed[kind])


def test_reserved_names_cover_what_the_service_installs(
    engine: str, make_service: MakeService
) -> None:
    service = make_service(engine)
    found = installed(str(service.commands / "python"))

    for kind in ("dependencies", "dependency_modules"):
        assert set(found[kind]) <= set(read()[kind])


def test_settings_of_copier_prefill_the_author(template: Path, tmp_path: Path) -> None:
    copier.run_copy(
        str(template),
        tmp_path / "service",
        defaults=True,
        quiet=True,
        settings=copier.Settings(
            defaults={"user_name": "Grace Hopper", "user_email": "grace@example.com"}
        ),
        vcs_ref="HEAD",
    )

    text = (tmp_path / "service" / "pyproject.toml").read_text(encoding="utf-8")
    assert '{ name = "Grace Hopper", email = "grace@example.com" }' in text


def test_bad_answer_is_refused_at_a_terminal(template: Path, tmp_path: Path) -> None:
    child = pexpect.spawn(
        sys.executable,
        ["-m", "copier", "copy", "--vcs-ref", "HEAD", str(template), str(tmp_path / "service")],
        encoding="utf-8",
        timeout=30,
        dimensions=(24, 80),
        env={**os.environ, "TERM": "xterm"},
    )
    child.expect("Name of the service")
    child.send('Bad "name"\r')
    child.expect_exact('Remove " and \\')
    child.send("\x01\x0bGood name\r")
    child.expect("Name for pyproject.toml")
    child.send("\r")
    child.expect("Description in one sentence")
    child.close(force=True)


def test_data_on_the_command_line_is_checked(template: Path, tmp_path: Path) -> None:
    process = subprocess.run(
        [
            *(sys.executable, "-m", "copier", "copy", "--defaults", "--vcs-ref", "HEAD"),
            *("--data", "package_name=json", str(template), str(tmp_path / "service")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode != 0
    assert "Use another: a module of Python" in process.stderr
    assert not (tmp_path / "service").exists()
