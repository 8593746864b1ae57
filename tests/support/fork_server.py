"""Run Python commands, each in a fork of a process that has imported the libraries.

This script runs in a service's environment. Its arguments are the libraries. It reads one request
a line, in JSON, and answers with one line. A fork imports the service's modules itself.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import sys
import tempfile
import threading
import time
import traceback
import types
from contextlib import suppress
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
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run a command with pipes, as `subprocess` does, and return what it printed."""
    given, out, err = os.pipe(), os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        status = 70
        try:
            for standard, end in enumerate((given[0], out[1], err[1])):
                os.dup2(end, standard)
            for end in (*given, *out, *err):
                os.close(end)
            status = run(request)
        finally:
            os._exit(status)
    for end in (given[0], out[1], err[1]):
        os.close(end)
    with suppress(BrokenPipeError), os.fdopen(given[1], "w") as standard_input:
        standard_input.write(request["input"])
    texts = read(out[0], err[0])
    _, status = os.waitpid(child, 0)
    return {"status": os.waitstatus_to_exitcode(status), "output": texts[0], "errors": texts[1]}


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


def run(request: dict[str, Any]) -> int:
    """Do in the fork what the interpreter would, and return the exit status."""
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    tempfile.tempdir = None  # which TMPDIR decides
    os.chdir(request["folder"])
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    kind, name, *arguments = request["arguments"]
    code: object = None
    try:
        if kind == "-m":
            sys.path.insert(0, str(Path.cwd()))
            sys.argv = [name, *arguments]
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        else:
            sys.path.insert(0, "")
            sys.argv = [kind, *arguments]
            module = sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(name, "<string>", "exec"), vars(module))  # noqa: S102 - as `python -c` does
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - the interpreter prints and ends so
        traceback.print_exc()
        code = 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code or 0


if __name__ == "__main__":
    main()
