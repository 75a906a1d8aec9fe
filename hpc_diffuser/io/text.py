"""Text files as programs of all systems write them: byte order marks, line ends, paddings."""

import re
from pathlib import Path

from hpc_diffuser.system.errors import InputError

_WIDE = (b"\xff\xfe", b"\xfe\xff")
_LOOKED_AT = 64
_PADDING = "\0\x1a \t\r\n"  # zeros of fixed-size blocks, DOS's end of file
_LINE_END = re.compile(r"\r\n|\n|\r")


def plain_text(path: Path, content: bytes, expected: str) -> str:
    """A file's text, its lines ended by newlines, without a byte order mark.

    Bytes that are no UTF-8 are kept as surrogates: what is not used need not be readable.

    Raises
    ------
    InputError
        For UTF-16, which is named.
    """
    if content.startswith(_WIDE) or _is_wide(content[:_LOOKED_AT]):
        raise InputError(f"{path}: UTF-16 text: save it as UTF-8: expected a {expected}")
    text = content.decode("utf-8-sig", "surrogateescape")
    return _LINE_END.sub("\n", text).rstrip(_PADDING) + "\n"


def _is_wide(head: bytes) -> bool:
    """Every other byte is 0, as in UTF-16 of plain letters."""
    return len(head) > 3 and not (any(head[::2]) and any(head[1::2]))
