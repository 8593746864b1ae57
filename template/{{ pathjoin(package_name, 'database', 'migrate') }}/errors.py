"""The error of the migration package."""


class MigrationError(Exception):
    """A problem with migrations. The message says what is wrong and how to fix it."""


class StatementError(MigrationError):
    """A statement of a migration failed.

    Attributes:
        statement: the statement.
        place: its position, such as `2 of 5`.
        reason: the server's message.
    """

    def __init__(self, message: str, *, statement: str, place: str, reason: str) -> None:
        super().__init__(message)
        self.statement = statement
        self.place = place
        self.reason = reason

    def in_scratch_database(self, name: str, function: str) -> str:
        """Describe the failure, without advice about the service's own database."""
        head = f"{name}: {function}() failed in the scratch database, at statement {self.place}:"
        return f"{head}\n{self.reason}\n\n{self.statement}\n"
