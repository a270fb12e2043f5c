"""Open a repository so that whatever is wrong with its files is an error one can handle."""

from collections.abc import Iterator
from contextlib import contextmanager

import icechunk

PANIC = "PanicException"
"""What the library raises where it read beyond a spoilt file: no :class:`Exception`, and without a
name to import, so that nobody would catch it, and a service would end."""


def repository(storage: icechunk.Storage) -> icechunk.Repository:
    """Return the repository of a storage.

    Parameters
    ----------
    storage
        Where it lies.

    Raises
    ------
    icechunk.IcechunkError, RuntimeError
        If it cannot be read.
    """
    with _panics_as_errors():
        return icechunk.Repository.open(storage)


@contextmanager
def _panics_as_errors() -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != PANIC:
            raise
        message = f"the file of heads cannot be read: {error}"
        raise RuntimeError(message) from error
