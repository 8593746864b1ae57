from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.releases import history


@pytest.fixture(scope="module")
def repository() -> Iterator[Path]:
    """The repository with its releases tagged, and the working tree as the next one."""
    with history() as clone:
        yield clone
