"""Recognize statements that leave the database session unchanged."""

import sqlite3

# The only actions that may change the session
SESSION_ACTIONS = {
    sqlite3.SQLITE_ATTACH,
    sqlite3.SQLITE_DETACH,
    sqlite3.SQLITE_INSERT,
    sqlite3.SQLITE_PRAGMA,
}
# Pragmas whose argument selects what to read; the argument of others is a new value
READING = {
    "foreign_key_check",
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
}


def is_plain(action: int, name: str | None, value: str | None, database: str | None) -> bool:
    """Return whether one of the `SESSION_ACTIONS` leaves the session unchanged.

    SQLite reports the actions of a statement once, when it prepares the statement.

    Args:
        action: SQLite's code of the action.
        name: the name of a pragma.
        value: the new value of a pragma, or None if it is only read.
        database: the database; "temp" has the session's temporary tables.
    """
    if action == sqlite3.SQLITE_PRAGMA:
        return value is None or (name or "").lower() in READING
    if action == sqlite3.SQLITE_INSERT:  # CREATE inserts into the schema's table
        return database != "temp"
    return False
