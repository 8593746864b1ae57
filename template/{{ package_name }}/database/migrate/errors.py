"""The error of the migration package."""


class MigrationError(Exception):
    """What is wrong and how to fix it, worded for the person who migrates."""


class StatementError(MigrationError):
    """A statement of a migration failed.

    Attributes:
        statement: the statement.
        number: its place in the migration, from 1.
        total: how many there are.
        reason: the server's message.
    """

    def __init__(
        self, message: str, *, statement: str, number: int, total: int, reason: str
    ) -> None:
        super().__init__(message)
        self.statement = statement
        self.number = number
        self.total = total
        self.reason = reason

    def in_scratch_database(self, name: str, function: str) -> str:
        """Describe the failure without what is to be done about the database."""
        place = f"statement {self.number} of {self.total}"
        head = f"{name}: {function}() failed in the scratch database, at {place}:"
        return f"{head}\n{self.reason}\n\n{self.statement}\n"
