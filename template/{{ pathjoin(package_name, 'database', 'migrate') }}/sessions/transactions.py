"""Run the statements of a migration in a transaction."""

from collections.abc import Awaitable, Callable, Iterable

from ..statements import failure


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
            place = f"{number} of {len(statements)}"
            raise failure(name, statement, place, error) from error
