"""Importing with less work. Imports are most of the start."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module


@contextmanager
def collector_paused() -> Iterator[None]:
    """Do not look for garbage: imports create many objects, but no garbage."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # the collector does not look at them again
        gc.enable()


def import_fastapi() -> None:
    """Import FastAPI, but build its models of an OpenAPI document only when they are used."""
    from pydantic import BaseModel  # noqa: PLC0415 - the command line does not need it

    BaseModel.model_config["defer_build"] = True
    try:
        import_module("fastapi")
    finally:
        del BaseModel.model_config["defer_build"]
