"""Recognize statements that leave a database session unchanged."""

import re

# Statements that leave the session unchanged, unless they call a function that changes it
PLAIN = re.compile(
    r"\s*(SELECT\b|(INSERT|REPLACE)(\s+IGNORE)?\s+INTO\s+[\w.`]+(\s*\()?|UPDATE\b|DELETE\b|SHOW\b"
    r"|(BEGIN|START\s+TRANSACTION|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)\b)",
    re.IGNORECASE,
)
# Words before a parenthesis: keywords, and functions that leave the session unchanged
PLAIN_WORD = re.compile(
    r"ABS|AND|ANY|AS|AVG|BY|CASE|CAST|CHAR|COALESCE|CONCAT|COUNT|DATE|DATE_FORMAT|DECIMAL|DISTINCT"
    r"|ELSE|EXISTS|FROM|HAVING|IF|IFNULL|IN|LENGTH|LOWER|MAX|MIN|NOT|NOW|NULLIF|ON|OR|ROUND|SELECT"
    r"|SUBSTRING|SUM|THEN|TRIM|UPPER|VALUES|WHEN|WHERE",
    re.IGNORECASE,
)
LONGEST_WORD = 11  # characters
OPERATORS = "-+*/%=<>|,"
NOT_IN_NAMES = re.compile(r"[^\w$.`]")
QUOTED = re.compile(r"'(?:[^'\\]++|\\.|'')*+'|\"(?:[^\"\\]++|\\.|\"\")*+\"|`[^`]*+`", re.DOTALL)
SUSPICIOUS = re.compile(r"--|/\*|#|@|:=|;\s*\S")
LONGEST_PLAIN = 15_000  # characters; a longer statement costs more than a new session


def is_plain(statement: str | bytes) -> bool:
    """Return whether a statement certainly leaves the session unchanged.

    Args:
        statement: the statement with its values, as asyncmy sends it.
    """
    if len(statement) > LONGEST_PLAIN:
        return False
    if isinstance(statement, bytes):
        statement = statement.decode(errors="replace")
    statement = QUOTED.sub("``", statement)
    verb = PLAIN.match(statement)
    if verb is None or SUSPICIOUS.search(statement):
        return False
    *before_parentheses, _ = statement[verb.end() :].split("(")
    return all(map(_is_plain_before_parenthesis, before_parentheses))


def _is_plain_before_parenthesis(text: str) -> bool:
    text = text.rstrip()
    if not text or text[-1] in OPERATORS:
        return True
    word = NOT_IN_NAMES.split(text[-LONGEST_WORD - 1 :])[-1]
    return PLAIN_WORD.fullmatch(word) is not None
