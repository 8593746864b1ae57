import pytest

from src.database.url import parse_url
from src.environment import PROJECT

from .support.settings import check_refusal


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "nonsense"),
        ("DATABASE_URL", "oracle://user:secret@127.0.0.1/name"),
        ("DATABASE_URL", "sqlite://:memory:"),
        ("DATABASE_URL", "sqlite:///db.sqlite3"),
        ("DATABASE_URL", "sqlite://no/such/folder/db.sqlite3"),
        ("DATABASE_BUSY_TIMEOUT", "nan"),
    ],
)
def test_wrong_value_is_named_in_one_line(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check_refusal(name, value, monkeypatch, capsys)


def test_relative_path_starts_at_the_project() -> None:
    assert parse_url("sqlite://db.sqlite3") == PROJECT / "db.sqlite3"


def test_absolute_path_stays() -> None:
    file = PROJECT / "db.sqlite3"

    assert parse_url(f"sqlite://{file}") == file
