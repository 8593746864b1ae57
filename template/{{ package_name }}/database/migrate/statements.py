"""Run the statements of a migration, and say which one failed and why."""

from collections.abc import Awaitable, Callable, Iterable

from .context import reason
from .dialects import guard_message
from .errors import StatementError


async def run_all(
    execute: Callable[[str], Awaitable[object]], name: str, statements: Iterable[str]
) -> None:
    """Run statements in a transaction that a failure rolls back.

    Args:
        execute: runs one statement.
        name: the migration's name.
        statements: the statements.

    Raises:
        StatementError: a statement failed.
    """
    statements = list(statements)
    for number, statement in enumerate(statements, 1):
        try:
            await execute(statement)
        except Exception as error:
            raise failure(name, statement, number, len(statements), error) from error


def failure(
    name: str, statement: str, number: int, total: int, error: Exception, report: str = ""
) -> StatementError:
    """Describe the failure of a statement.

    Args:
        name: the migration's name.
        statement: the statement.
        number: its place in the migration, from 1.
        total: how many there are.
        error: what the server said.
        report: what of the migration is kept; nothing is, without it.
    """
    if found := guard_message(statement, error):
        message = f"{name}: {found}. Nothing of the migration is kept."
    elif report:
        message = f"{error}\n\n{report}"
    else:
        head = f"{name}: statement {number} of {total} failed, and nothing of the migration is kept"
        message = f"{head}: {error}\n\n{statement}"
    return StatementError(
        message, statement=statement, number=number, total=total, reason=found or reason(error)
    )
