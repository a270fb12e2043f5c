"""Make whatever is wrong with the files of a repository an error that one can handle."""

from collections.abc import Iterator
from contextlib import contextmanager

PANIC = "PanicException"
"""What the library raises where it read beyond a spoilt file: no :class:`Exception`, and without a
name to import, so that nobody would catch it, and a service would end."""


@contextmanager
def panics_as_errors() -> Iterator[None]:
    """Raise a RuntimeError where Icechunk, opening, reading or writing, panics."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != PANIC:
            raise
        message = f"the file of heads is spoilt: {error}"
        raise RuntimeError(message) from error
