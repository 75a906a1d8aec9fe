"""What can go wrong, each with the exit code that a job script sees.

An error's text is one line: what is wrong, where, what was expected, what to do about it.
"""


class DiffuserError(Exception):
    """A failure that is reported as one line and ends the program with `exit_code`.

    Attributes
    ----------
    known_to_all : bool
        Every rank has this error and ends by itself: it is told once, and nobody is aborted.
    """

    exit_code = 70
    known_to_all = False


class InputError(DiffuserError):
    """A file, key or way of starting that cannot be used."""

    exit_code = 65


class RunInUseError(DiffuserError):
    """Another job is writing to the run directory."""

    exit_code = 73


class StorageError(DiffuserError):
    """Writing failed: disk full, quota, read-only, I/O error."""

    exit_code = 74


class StoppedError(DiffuserError):
    """Stopped cleanly on request; the same command resumes."""

    exit_code = 75


class SilentRankError(DiffuserError):
    """Another rank has not answered for too long."""


class ChangedError(DiffuserError):
    """The config or an input is not what the run began with."""

    exit_code = 78
