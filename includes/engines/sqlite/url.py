"""Database URLs: `sqlite://` and the path of a file."""

import re
from pathlib import Path

from ..environment import PROJECT

DATABASE_URL_EXAMPLE = "sqlite://db.sqlite3"


def parse_url(url: str) -> Path:
    """Return the file of a database URL.

    Args:
        url: `sqlite://` and a path, absolute or relative to the project folder.

    Raises:
        ValueError: the service cannot use such a URL or file.
    """
    scheme, separator, path = url.partition("://")
    if not separator:
        raise ValueError("Start the URL with sqlite://")
    if scheme != "sqlite":
        raise ValueError(f"Use sqlite://, not {scheme}://: the migrations are for SQLite")
    if "?" in path or "#" in path or "\0" in path:
        raise ValueError("Remove ?, # and NUL from the path")
    if path in {"", "/"} or path.startswith(":memory:"):
        raise ValueError("Add the path of a file: processes do not share a database in memory")
    if re.match(r"/[A-Za-z]:[\\/]", path):  # a Windows path, such as sqlite:///C:/data/db.sqlite3
        path = path[1:]
    elif re.fullmatch(r"/[^/]+", path):
        raise ValueError(f"Use sqlite:/{path} for a relative path: {path} is in the root folder")
    file = PROJECT / path
    if file.is_dir():
        raise ValueError(f"Use the path of a file: {file} is a folder")
    if not file.parent.is_dir():
        raise ValueError(f"Create the folder {file.parent}: it does not exist")
    return file
