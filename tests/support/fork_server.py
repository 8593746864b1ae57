"""Run modules, each in a fork of a process that has imported the libraries.

This script runs in a service's environment. Its arguments are the libraries. It reads one request
a line, in JSON, and answers with one line. A fork imports the service's modules itself.
"""

import gc
import importlib
import json
import os
import runpy
import select
import sys
import tempfile
import time
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any


def main() -> None:
    for library in sys.argv[1:]:
        with suppress(ImportError):
            importlib.import_module(library)
    sys.path.pop(0)  # the folder of this script
    gc.freeze()
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        given, out, err = pipes = os.pipe(), os.pipe(), os.pipe()
        child = os.fork()
        if not child:
            for standard, end in enumerate((given[0], out[1], err[1])):
                os.dup2(end, standard)
            for end in chain(*pipes):
                os.close(end)
            run(request)
            return
        for end in (given[0], out[1], err[1]):
            os.close(end)
        with suppress(BrokenPipeError), os.fdopen(given[1], "w") as standard_input:
            standard_input.write(request["input"])
        output, errors = read(out[0], err[0])
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answer = {"status": status, "output": output, "errors": errors}
        print(json.dumps(answer), file=answers, flush=True)


def read(*pipes: int) -> list[str]:
    """Read pipes to their ends."""
    parts: dict[int, list[bytes]] = {pipe: [] for pipe in pipes}
    unfinished = {*pipes}
    while unfinished:
        for pipe in select.select([*unfinished], [], [])[0]:
            part = os.read(pipe, 65536)
            parts[pipe].append(part)
            if not part:
                unfinished.remove(pipe)
                os.close(pipe)
    return [b"".join(parts[pipe]).decode() for pipe in pipes]


def run(request: dict[str, Any]) -> None:
    """Run a module as `python -m` does. The interpreter ends the fork as it ends such a process."""
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    tempfile.tempdir = None  # which TMPDIR decides
    os.chdir(request["folder"])
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    sys.path.insert(0, str(Path.cwd()))
    _, name, *arguments = request["arguments"]
    sys.argv = [name, *arguments]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
