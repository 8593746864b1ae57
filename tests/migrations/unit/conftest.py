from collections.abc import Iterator

import pytest

from tests.support.changes import Bench, bench


@pytest.fixture(scope="session")
def changes() -> Iterator[Bench]:
    """Databases to run changes of models on."""
    with bench() as made:
        yield made
