"""Split SQL scripts into statements, with an engine's rules for quotes and comments."""

import re
from dataclasses import dataclass, field

_ROUTINE = re.compile(
    r"\s*CREATE\b[^;'(]*?\b(FUNCTION|PROCEDURE|TRIGGER|EVENT)\b", re.IGNORECASE | re.DOTALL
)
_COMMENT_END = re.compile(r"/\*|\*/")


@dataclass(frozen=True)
class Splitter:
    """Splits scripts of one engine.

    Args:
        quoted: matches a string, a quoted name or anything else that is read as a whole.
        comment: matches a comment up to the end of its line.
        nested: whether block comments may be nested.
    """

    quoted: str
    comment: str
    nested: bool = False
    _tokens: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        tokens = (
            rf"(?P<quoted>{self.quoted})|(?P<comment>{self.comment})|(?P<block>/\*)"
            r"|(?P<end>;)|(?P<word>\b\w+\b)|(?P<other>\S)"
        )
        object.__setattr__(self, "_tokens", re.compile(tokens, re.DOTALL))

    def split(self, sql: str) -> list[str]:
        """Return the statements with their semicolons, without those that are only comments."""
        statements = []
        start = position = depth = 0
        is_empty, is_routine, last = True, None, ""
        while token := self._tokens.search(sql, position):
            position = token.end()
            if token["block"]:
                position = self._end_of_comment(sql, position)
                is_empty = is_empty and sql[token.end()] != "!"  # MySQL runs /*! ... */
            elif token["end"] and depth == 0:
                if not is_empty:
                    statements.append(sql[start:position].strip())
                start, is_empty, is_routine = position, True, None
            elif not token["comment"]:
                is_empty = False
                word = (token["word"] or "").upper()
                if word in {"BEGIN", "CASE", "END"}:
                    if is_routine is None:
                        is_routine = bool(_ROUTINE.match(sql[start:position]))
                    opens = word == "BEGIN" or (word == "CASE" and depth and last != "END")
                    depth += is_routine * (opens - (word == "END"))
                elif word in {"IF", "LOOP", "REPEAT", "WHILE"} and last == "END":
                    depth += bool(is_routine)  # END IF closes a block that was not counted
                last = word
        if not is_empty:
            statements.append(sql[start:].strip())
        return statements

    def _end_of_comment(self, sql: str, position: int) -> int:
        depth = 1
        while depth and (mark := _COMMENT_END.search(sql, position)):
            position = mark.end()
            if mark[0] == "*/":
                depth -= 1
            elif self.nested:
                depth += 1
        return len(sql) if depth else position
