"""Scripts that are split into statements."""

import pytest
from migration_package import dialects

POSTGRESQL = {
    "plain": ("SELECT 1; SELECT 2;", ["SELECT 1", "SELECT 2"]),
    "without an end": ("SELECT 1", ["SELECT 1"]),
    "comments only": ("-- one;\n; /* two; /* three; */ */ ;", []),
    "backslash in a string": (r"SELECT '\'; SELECT 2", [r"SELECT '\'", "SELECT 2"]),
    "escaped string": (r"SELECT E'\'; x'; SELECT 2", [r"SELECT E'\'; x'", "SELECT 2"]),
    "doubled quotes": (
        "SELECT 'it''s;', \"a\"\";\"; SELECT 2",
        ["SELECT 'it''s;', \"a\"\";\"", "SELECT 2"],
    ),
    "dollar quotes": ("DO $$ BEGIN; END $$; SELECT $1", ["DO $$ BEGIN; END $$", "SELECT $1"]),
    "tagged dollar quotes": ("DO $a$ ; $$ ; $a$; SELECT 2", ["DO $a$ ; $$ ; $a$", "SELECT 2"]),
    "function": (
        "CREATE FUNCTION f() RETURNS INT BEGIN ATOMIC SELECT CASE WHEN TRUE THEN 1 END; END; SELECT 2",
        [
            "CREATE FUNCTION f() RETURNS INT BEGIN ATOMIC SELECT CASE WHEN TRUE THEN 1 END; END",
            "SELECT 2",
        ],
    ),
    "case": (
        "SELECT CASE WHEN TRUE THEN 1 END; SELECT 2",
        ["SELECT CASE WHEN TRUE THEN 1 END", "SELECT 2"],
    ),
    "transaction": ("BEGIN; SELECT 2; END", ["BEGIN", "SELECT 2", "END"]),
    "comment in front": ("-- one;\nSELECT 1;", ["-- one;\nSELECT 1"]),
}
TRIGGER = (
    "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW BEGIN IF NEW.b THEN SET NEW.b = CASE NEW.b"
    " WHEN 1 THEN 2 END; END IF; END"
)
MYSQL = {
    "backslash in a string": (
        r"SELECT '\'; x', '\\'; SELECT 2",
        [r"SELECT '\'; x', '\\'", "SELECT 2"],
    ),
    "quotes": ('SELECT "it\'s;", `a``;`; SELECT 2', ['SELECT "it\'s;", `a``;`', "SELECT 2"]),
    "comments only": ("# one;\n-- two;\n/* three; */;", []),
    "no comment": ("SELECT 1--1; SELECT 2", ["SELECT 1--1", "SELECT 2"]),
    "comment that runs": ("/*!50000 SELECT 1 */; SELECT 2", ["/*!50000 SELECT 1 */", "SELECT 2"]),
    "trigger": (f"{TRIGGER}; SELECT 2", [TRIGGER, "SELECT 2"]),
    "column called end": ("SELECT `end` FROM a; SELECT 2", ["SELECT `end` FROM a", "SELECT 2"]),
}
SQLITE = {
    "trigger": (
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; SELECT 2; END; SELECT 3",
        ["CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; SELECT 2; END;", "SELECT 3"],
    ),
    "string": ("SELECT ';'; SELECT 2;", ["SELECT ';';", "SELECT 2;"]),
}


def _without_ends(statements: list[str]) -> list[str]:
    return [statement.removesuffix(";") for statement in statements]


@pytest.mark.parametrize(("script", "expected"), POSTGRESQL.values(), ids=POSTGRESQL)
def test_postgresql(script: str, expected: list[str]) -> None:
    assert _without_ends(dialects.load("postgresql").split(script)) == expected


@pytest.mark.parametrize(("script", "expected"), MYSQL.values(), ids=MYSQL)
def test_mysql(script: str, expected: list[str]) -> None:
    assert _without_ends(dialects.load("mysql").split(script)) == expected


@pytest.mark.parametrize(("script", "expected"), SQLITE.values(), ids=SQLITE)
def test_sqlite(script: str, expected: list[str]) -> None:
    assert dialects.load("sqlite").split(script) == expected
