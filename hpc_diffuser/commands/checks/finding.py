"""What an examination tells: one line, and what to do if it is a problem."""

from typing import NamedTuple


class Finding(NamedTuple):
    """One line of the page, and below it what is wrong there and what to do, if anything."""

    name: str
    text: str
    problem: str | None = None
