"""Text from elsewhere in files that people open: nothing hidden in it, and no cell that a spreadsheet would compute."""

import re
from typing import Final

_CONTROLS: Final = "\x00-\x1f\x7f-\x9f"
# those that turn the direction of the text around them, those that end a line, and halves of a character
_OTHERS: Final = "\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_HIDDEN: Final = re.compile(f"[{_CONTROLS}{_OTHERS}]")
_HIDDEN_IN_LINES: Final = re.compile(f"(?![\t\n])[{_CONTROLS}{_OTHERS}]")

# the wide ones count too; a spreadsheet that separates by semicolons begins a cell behind each
_FORMULA: Final = re.compile("(^|;)( *)('*)(?=[=+\\-@＝＋－＠])")
_GUARDED: Final = re.compile("(^|;)( *)'('*)(?=[=+\\-@＝＋－＠])")
_ESCAPE: Final = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4})")
_ESCAPED: Final = re.compile(r"\\(\\|x[0-9a-f]{2}|u[0-9a-f]{4})")


def has_hidden(text: str) -> bool:
    """Return whether a text holds, beside tabs and line ends, characters that nobody sees and a terminal may obey."""
    return _HIDDEN_IN_LINES.search(text) is not None


def replace_hidden(text: str) -> str:
    """Return a text of several lines in which each such character is shown as one that could not be read.

    Example:
        >>> replace_hidden("a\\x1b[2J\\n") == "a\\ufffd[2J\\n"
        True
    """
    return _HIDDEN_IN_LINES.sub("\ufffd", text)


def escape_json(text: str) -> str:
    """Return JSON that means the same, with escapes for all characters that nobody sees.

    Example:
        >>> escape_json('{"name": "a\\u202eb"}')
        '{"name": "a\\\\u202eb"}'
    """
    return _HIDDEN_IN_LINES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def as_cell(text: str) -> str:
    """Return a text as it stands in a table: on one line, with nothing hidden, and no formula to any spreadsheet.

    What would begin a formula gets an apostrophe before it, and what nobody sees becomes an escape. ``from_cell`` gives
    back the same text, whatever it was.

    Example:
        >>> as_cell("=1+1"), as_cell("a\\x1b[2J"), as_cell("A017")
        ("'=1+1", 'a\\\\x1b[2J', 'A017')
    """
    if _HIDDEN.search(text) or _ESCAPE.search(text):
        text = _HIDDEN.sub(_escape, text.replace("\\", "\\\\"))
    return _FORMULA.sub(r"\1\2\3'", text)


def from_cell(text: str) -> str:
    """Return the text that ``as_cell`` made a cell of.

    Example:
        >>> [from_cell(as_cell(text)) for text in ("=1+1", "'=1", "-2", "\\\\x1b\\x1b", "O'Neill")]
        ['=1+1', "'=1", '-2', '\\\\x1b\\x1b', "O'Neill"]
    """
    text = _GUARDED.sub(r"\1\2\3", text)
    return _ESCAPED.sub(_unescape, text) if _ESCAPE.search(text) else text


def as_lines(text: str) -> str:
    """Return a text of several lines as it stands in a table that nothing reads back: no line of it a formula.

    Example:
        >>> as_lines("mean\\n=1+1")
        "mean\\n'=1+1"
    """
    return "\n".join(as_cell(line) for line in text.splitlines())


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _unescape(found: re.Match[str]) -> str:
    return "\\" if found[1] == "\\" else chr(int(found[1][1:], 16))
