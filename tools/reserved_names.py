"""Write includes/reserved_names.jinja: names that a package or a project must not have.

Every run adds to the listed names, since they differ between Python versions and engines. The names
come from `keyword.kwlist`, `sys.stdlib_module_names` and the packages in the services' environments.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from jinja2 import Environment

from .render import ENGINES, REPOSITORY, Answers, render, snapshot

FILE = REPOSITORY / "includes" / "reserved_names.jinja"

NAMES = """
import importlib.metadata, json, keyword, re, sys
modules = importlib.metadata.packages_distributions()
names = {
    "keywords": keyword.kwlist,
    "standard_library": sys.stdlib_module_names,
    "dependencies": (re.sub("[-_.]+", "-", d.name) for d in importlib.metadata.distributions()),
    "dependency_modules": (name for name in modules if name.isidentifier()),
}
keep = {"keywords": str}
print(json.dumps({k: sorted({keep.get(k, str.lower)(n) for n in v}) for k, v in names.items()}))
"""


def read() -> dict[str, list[str]]:
    """Read the listed names, by kind."""
    module = Environment(autoescape=True).from_string(FILE.read_text(encoding="utf-8")).module
    return {
        kind: list(names)
        for kind, names in vars(module).items()
        if isinstance(names, list) and not kind.startswith("_")  # Jinja has a private list there
    }


def installed(*python: str) -> dict[str, list[str]]:
    """Read the names of a Python executable, by kind."""
    command = [*python, "-c", NAMES]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    names: dict[str, list[str]] = json.loads(output)
    return names


def main(pythons: list[str]) -> None:
    """Add the names of the services' environments, of this Python and of others.

    Args:
        pythons: other Python executables.
    """
    names = {kind: set(found) for kind, found in read().items()}
    with snapshot() as template, tempfile.TemporaryDirectory() as folder:
        for engine in ENGINES:
            answers: Answers = {
                "database": engine,
                "jobs": "postgresql" if engine == "postgresql" else "redis",
                "observability": True,
                "sentry": True,
            }
            service = render(template, Path(folder) / engine, answers)
            run = ["uv", "run", "--quiet", "--all-groups", "--project", str(service), "python"]
            for kind, found in installed(*run).items():
                names.setdefault(kind, set()).update(found)
    for python in (sys.executable, *pythons):
        for kind, found in installed(python, "-IS").items():
            names[kind].update(found)
    lines = ["{#- Written by tools/reserved_names.py -#}"]
    for kind, listed in sorted(names.items()):
        # Jinja compiles one text much faster than a list, and each update compiles it three times
        lines += [f"{{%- set {kind} = '", *sorted(listed), "'.split() -%}"]
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(FILE.relative_to(REPOSITORY))


if __name__ == "__main__":
    main(sys.argv[1:])
