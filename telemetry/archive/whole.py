"""Files made from an archive: whole or not there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twin.errors import ArchiveError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a draft to write, which takes the place of a file once it is written.

    Parameters
    ----------
    path
        The file; an existing one stays as it is if the draft is not finished.

    Raises
    ------
    ArchiveError
        If the disk does not take it.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        yield draft
        draft.replace(path)
    except OSError as error:
        message = f"{path}: {error.strerror}; see to the disk"
        raise ArchiveError(message) from error
    finally:
        draft.unlink(missing_ok=True)
