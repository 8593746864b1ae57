"""Follow a page of a service's documentation: its files, its edits and its commands."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx2

from .network import wait_for


class Block(NamedTuple):
    """A block of code on a page.

    Attributes:
        language: python, diff or console.
        path: the file that the first line of Python or of a diff names.
        text: the rest.
    """

    language: str
    path: str
    text: str


def blocks(page: str) -> list[Block]:
    """List the blocks of Python, diffs and commands of a page, in order."""
    found = re.findall(
        r"^```(python|diff|console)\n(?:# (\S+)\n)?(.*?)^```$", page, re.DOTALL | re.MULTILINE
    )
    return [Block(*block) for block in found]


def apply(block: Block, folder: Path) -> None:
    """Write a file, or insert the lines that a diff adds.

    Raises:
        AssertionError: the lines around the inserted ones are not there exactly once.
    """
    file = folder / block.path
    if block.language == "python":
        file.parent.mkdir(exist_ok=True)
        (file.parent / "__init__.py").touch()
        file.write_text(block.text, encoding="utf-8")
        return
    lines = block.text.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if not line.startswith("+"))
    after = "".join(line[1:] for line in lines)
    text = file.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{block.path} does not have\n{before}"
    file.write_text(text.replace(before, after), encoding="utf-8")


def commands(text: str) -> list[str]:
    """List the command lines of a document's console blocks."""
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [
        line[2:].partition("  #")[0].strip()
        for block in blocks
        for line in block.splitlines()
        if line.startswith("$ ")
    ]


def answers(url: str) -> bool:
    try:
        return httpx2.get(url).status_code == 200
    except httpx2.TransportError:
        return False


@contextmanager
def serving(command: str, folder: Path, environment: dict[str, str], url: str) -> Iterator[str]:
    """Run a command until the URL answers; afterwards interrupt it as Ctrl-C does.

    Yields:
        What the command has printed so far.
    """
    log = folder.parent / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_for(lambda: process.poll() is not None or answers(url))
            assert process.poll() is None, log.read_text(encoding="utf-8")
            yield log.read_text(encoding="utf-8")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            process.wait(60)
