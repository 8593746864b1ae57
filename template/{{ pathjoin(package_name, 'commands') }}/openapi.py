"""The command that writes the OpenAPI document."""

import argparse
import json
import sys
from pathlib import Path

from ..main import app


def main() -> None:
    """Write the document to standard output or a file."""
    parser = argparse.ArgumentParser(
        prog=sys.argv[0], description="Write the OpenAPI document as JSON."
    )
    parser.add_argument("file", nargs="?", type=Path, help="default: standard output")
    file: Path | None = parser.parse_args().file
    document = json.dumps(app.openapi(), indent=2, ensure_ascii=file is None) + "\n"
    if file is None:
        sys.stdout.write(document)
        return
    try:
        file.write_text(document, encoding="utf-8")
    except OSError as error:
        sys.exit(f"{file} cannot be written: {error.strerror}")
