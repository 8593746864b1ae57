"""Answers that several tests give."""

from tools.render import Answers

# the default names, names that need quoting, and the longest names
NAMES: list[Answers] = [
    {},
    {
        "project_name": "Überraschung & Söhne' *Laden*",
        "project_slug": "U",
        "project_description": "It's 100 % <fast> | #1: _really_",
        "package_name": "a" * 40,
        "author_name": "O'Hara & Söhne",
        "author_email": "ada@example.com",
    },
    {"project_name": "x" * 100, "project_slug": "x" * 100, "project_description": "y" * 100},
]
