"""What could not be read, or came too late, kept for people: JSON lines in files that roll.

What is sound lies apart from what is not, whole and with more room, so that no flood of poison can
push it out; what has to give way is counted and told.
"""

import base64
import json
import shutil
import threading
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from telemetry.archive import losses
from telemetry.codec import decode
from telemetry.samples import Sample
from twin.errors import WireError

POISON: Final = "poison"
"""Begins the names of the files of what cannot be read: ``poison.jsonl`` and older ones."""

LATE: Final = "late"
"""The same of what is sound and not archived: ``late.jsonl`` and older ones."""

SHOWN_BYTES: Final = 1000
"""Of a payload, how much is kept. [B]"""

FILE_BYTES: Final = 16 * 1024 * 1024
"""Size at which a file is put aside and another begun. [B]"""

ROOM: Final = 2 * FILE_BYTES
"""What files that are put aside may take; the oldest give way. [B]"""

SHARE: Final = 0.05
"""Share of the disk's free room that sound messages may take, if that is more than :data:`ROOM`."""

TOPIC_LETTERS: Final = 500

_MUTEX: Final = threading.Lock()  # several may write one folder

_logger = structlog.get_logger(__name__)


def understand(topic: str, payload: bytes) -> Sample | str:
    """Return what a message says, or why it cannot be read; nothing that comes in can raise here.

    A decoder that fails in another way than it should is told aloud.
    """
    try:
        return decode(topic, payload)
    except WireError as error:
        return str(error)
    except Exception as error:
        _logger.exception("decoder failed", topic=ascii(topic))
        return f"not understood: {error!r}"


class Quarantine:
    """The messages that were refused.

    Each line has ``time``, ``topic``, ``reason``, ``size`` [B] and ``payload`` in base64, of what
    cannot be read the first kilobyte. A disk that takes nothing is no reason to stop.

    Parameters
    ----------
    folder
        Where the files lie; None to keep nothing.
    lost
        Folder of the archive whose losses tell what of the sound messages had to give way; None to
        say it only.
    """

    def __init__(self, folder: Path | None, lost: Path | None = None) -> None:
        self._folder = folder
        self._lost = lost
        self._failed = 0

    def put(self, topic: str, reason: str, payload: bytes | int) -> None:
        """Write down a message that cannot be read.

        Parameters
        ----------
        topic
            Where it came from.
        reason
            Why it was refused.
        payload
            Its bytes, or their number if nobody has kept them.
        """
        shown = b"" if isinstance(payload, int) else payload[:SHOWN_BYTES]
        size = payload if isinstance(payload, int) else len(payload)
        self._put(POISON, _line(topic, reason, shown, size))

    def put_whole(self, topic: str, reason: str, payload: bytes) -> None:
        """Write down a message that is sound, and not archived."""
        self.put_all(reason, [(topic, payload)])

    def put_all(self, reason: str, messages: list[tuple[str, bytes]]) -> None:
        """Write down many messages that are sound, and not archived for one reason."""
        self._put(LATE, "".join(_line(topic, reason, one, len(one)) for topic, one in messages))

    def _put(self, stem: str, lines: str) -> None:
        if self._folder is None:
            return
        with _MUTEX:
            try:
                let_go = _write(self._folder, stem, lines)
            except OSError as error:
                if not self._failed:
                    _logger.warning("quarantine not written", reason=error.strerror)
                self._failed += lines.count("\n")
                return
            failed, self._failed = self._failed, 0
        if failed:
            _logger.warning("quarantine written again", absent=failed)
        if let_go and stem == LATE:
            reason = f"{let_go} of the oldest sound messages in quarantine gave way to newer ones"
            losses.tell(self._lost, [{"group": "quarantine", "reason": reason}])
        elif let_go:
            _logger.warning("quarantine let go", messages=let_go, kind=stem)


def _line(topic: str, reason: str, shown: bytes, size: int) -> str:
    told = {
        "time": f"{np.datetime64('now', 's')}Z",
        "topic": topic[:TOPIC_LETTERS],
        "reason": reason,
        "size": size,
        "payload": base64.b64encode(shown).decode(),
    }
    return json.dumps(told) + "\n"


def _write(folder: Path, stem: str, lines: str) -> int:
    """Write some lines; return how many older ones had to give way."""
    folder.mkdir(parents=True, exist_ok=True)
    path, let_go = folder / f"{stem}.jsonl", 0
    if path.exists() and path.stat().st_size > FILE_BYTES:
        numbers = [int(one.name.split(".")[1]) for one in _older(folder, stem)]
        path.replace(folder / f"{stem}.{max(numbers, default=0) + 1}.jsonl")
        let_go = _make_room(folder, stem)
    with path.open("a", encoding="ascii") as file:
        file.write(lines)
    return let_go


def _make_room(folder: Path, stem: str) -> int:
    """Delete the oldest files that there is no room for; return how many lines they had."""
    files = _older(folder, stem)
    held, room, let_go = sum(one.stat().st_size for one in files), ROOM, 0
    if stem == LATE:
        room = max(ROOM, int(SHARE * (shutil.disk_usage(folder).free + held)))
    for path in files:
        if held <= room:
            break
        held -= path.stat().st_size
        with path.open("rb") as file:
            let_go += sum(1 for _ in file)
        path.unlink()
    return let_go


def _older(folder: Path, stem: str) -> list[Path]:
    """Return the files that were put aside, oldest first."""
    found = [one for one in folder.glob(f"{stem}.*.jsonl") if one.name.split(".")[1].isdecimal()]
    return sorted(found, key=lambda one: int(one.name.split(".")[1]))
