"""What a kind of export gives back: files that are not yet written."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Made:
    """Files to be written.

    Attributes
    ----------
    files : dict of Path → bytes
        In the order in which they are to be there.
    said : tuple of str
        Lines for the user.
    inputs : tuple of Path
        What they are made of beside the source.
    """

    files: dict[Path, bytes]
    said: tuple[str, ...]
    inputs: tuple[Path, ...] = ()
