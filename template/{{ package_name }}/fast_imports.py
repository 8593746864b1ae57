"""Faster imports, which take most of the time of a start."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector: imports create many objects, but no garbage."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # the collector skips these objects from now on
        gc.enable()


def import_fastapi() -> None:
    """Import FastAPI. It builds its models of an OpenAPI document when they are first used."""
    from pydantic import BaseModel  # noqa: PLC0415 - the command line does not need it

    BaseModel.model_config["defer_build"] = True
    try:
        import_module("fastapi")
    finally:
        del BaseModel.model_config["defer_build"]
