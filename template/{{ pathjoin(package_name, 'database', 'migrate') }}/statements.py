"""Describe which statement of a migration failed, and why."""

from .context import dialect, reason
from .dialects import guard_message
from .errors import StatementError


def failure(
    name: str, statement: str, place: str, error: Exception, report: str = ""
) -> StatementError:
    """Describe the failure of a statement.

    Args:
        name: the migration's name.
        statement: the statement.
        place: its position in the migration, such as `2 of 5`.
        error: the server's error.
        report: what is kept of the migration; empty if nothing is.
    """
    found = guard_message(statement, error)
    if report:
        message = f"{found or error}\n\n{report}"
    elif found:
        message = f"{name}: {found}. Nothing of the migration is kept."
    else:
        head = f"{name}: statement {place} failed, and nothing of the migration is kept"
        message = f"{head}: {error}\n\n{statement}"
    advice = dialect.advice(reason(error))
    if advice:
        message = f"{message}\n\n{advice}."
    why = "\n".join(filter(None, [found or reason(error), advice and f"{advice}."]))
    return StatementError(message, statement=statement, place=place, reason=why)
