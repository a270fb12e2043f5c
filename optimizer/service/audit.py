"""The audit record: one line a decision, chained by hashes so that any edited byte shows."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from twin.errors import Fault, ServiceError

GENESIS: Final = "0" * 64
"""Hash before the first line."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the record: its own words, and the hash that binds it to all before."""

    content: Mapping[str, object]
    chained: str


class Audit:
    """The audit record of a service.

    Parameters
    ----------
    path
        The file; one JSON object a line. A line that a crash cut off is set aside.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = GENESIS
        self._mend()

    def add(self, content: Mapping[str, object]) -> None:
        """Write an entry; it is on disk when this returns.

        Parameters
        ----------
        content
            What ``json`` can write.
        """
        body = json.dumps(content, allow_nan=False, separators=(",", ":"))
        chained = _hash(self._last, body)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f'{{"hash":"{chained}","entry":{body}}}\n')
            file.flush()
            os.fdatasync(file.fileno())
        self._last = chained

    def _mend(self) -> None:
        """Go to the end of the record; a last line without an end is set aside."""
        if not self._path.exists():
            return
        whole = self._path.read_bytes()
        end = whole.rfind(b"\n") + 1
        if end < len(whole):
            self._path.with_suffix(".torn").write_bytes(whole[end:])
            os.truncate(self._path, end)
        if end:
            last = whole[whole.rfind(b"\n", 0, end - 1) + 1 : end]
            self._last = str(json.loads(last)["hash"])


def read_audit(path: Path) -> Iterator[Entry]:
    """Yield the entries of a record, oldest first.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    ServiceError
        At the first line that was edited, or does not follow the one before.
    """
    last = GENESIS
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            body = line.partition('"entry":')[2].rstrip("\n").removesuffix("}")
            chained = _hash(last, body)
            if line[9 : 9 + len(chained)] != chained:
                mend = "this line or one before it was edited after it had been written"
                fault = Fault(place=f"{path.name}, line {number}", value="", mend=mend)
                raise ServiceError("audit", [fault])
            yield Entry(content=json.loads(body), chained=chained)
            last = chained


def _hash(last: str, body: str) -> str:
    return hashlib.sha256(f"{last}{body}".encode()).hexdigest()
