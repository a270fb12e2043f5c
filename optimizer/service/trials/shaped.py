"""JSON of a back-test's folder: read as what it must be, or refused in words."""

import json
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from twin.errors import StateError, ValidationIssue

MEND: Final = "run gigatwin backtest again into a new folder, or bring the file back whole"
"""What to do about a file that is damaged."""


def read_json(path: Path) -> object:
    """Return what a file of JSON holds.

    Raises
    ------
    StateError
        If it is cut short, or no JSON.
    """
    try:
        content: object = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # bytes that are no text are a ValueError too
        raise damaged(path, f"cut short, or no JSON ({error})") from error
    return content


def shaped[T](content: object, shape: type[T], path: Path) -> T:
    """Return what a file holds as the thing it must be.

    Parameters
    ----------
    content
        What was read.
    shape
        The thing, whose fields have types; what the file holds beside them is left out.
    path
        The file, for the error.

    Raises
    ------
    StateError
        If a field is missing, or of another type.
    """
    try:
        return TypeAdapter(shape).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise damaged(path, f"not what a back-test writes ({place}: {first['msg']})") from error


def damaged(path: Path, what: str) -> StateError:
    """Return the error of a file that a back-test did not leave so."""
    return StateError("run", [ValidationIssue(place=str(path), value=what, mend=MEND)])
