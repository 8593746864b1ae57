"""Recognize statements that leave a database session unchanged, and reset the others' session."""

import re
from functools import lru_cache

# Statements that leave the session unchanged, unless they call a function that changes it
PLAIN = re.compile(
    r"\s*(SELECT(?!.*\bINTO\b)|INSERT\s+INTO\s+[\w.\"]+(\s*\()?|UPDATE|DELETE|SHOW"
    r"|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)",
    re.IGNORECASE | re.DOTALL,
)
# A parenthesis that calls no function, or a function that leaves the session unchanged
PLAIN_PARENTHESIS = re.compile(
    r"([-+*/%=<>|,]|(?<=\()|(?<![\w$.\"])(AND|ANY|AS|AVG|BY|CASE|CAST|COALESCE|CONFLICT|COUNT"
    r"|DISTINCT|ELSE|EXISTS|FROM|HAVING|IN|LOWER|MAX|MIN|NOT|ON|OR|SELECT|SUM|THEN|UPPER|VALUES"
    r"|WHEN|WHERE))\s*\(",
    re.IGNORECASE,
)
LONGEST_PLAIN = 15_000  # characters; a longer statement costs more than a reset
# DISCARD ALL without plans and prepared statements, which asyncpg caches
RESET = """
    CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *;
    SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES
"""


@lru_cache(maxsize=500)
def is_plain(statement: str) -> bool:
    """Return whether a statement certainly leaves the session unchanged."""
    verb = PLAIN.match(statement)
    if verb is None or re.search(r"--|/\*|;\s*\S", statement):
        return False
    return "(" not in PLAIN_PARENTHESIS.sub("", statement[verb.end() :])
