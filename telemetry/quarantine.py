"""What could not be read, kept for whoever wants to know why: JSON lines in a file that rolls."""

import base64
import json
import threading
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from telemetry.codec import decode
from telemetry.samples import Sample
from twin.errors import WireError

FILE: Final = "poison.jsonl"
OLDER: Final = "poison.1.jsonl"

SHOWN_BYTES: Final = 1000
"""Of a payload, how much is kept. [B]"""

WHOLE: Final = 256 * 1024
"""More than any payload that is taken in: one that is sound is kept whole. [B]"""

FILE_BYTES: Final = 16 * 1024 * 1024
"""Size at which a file is put aside, in place of the one before. [B]"""

TOPIC_LETTERS: Final = 500

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
    cannot be read the first kilobyte. Two files of :data:`FILE_BYTES` are kept at most; a disk that
    takes nothing is no reason to stop.

    Parameters
    ----------
    folder
        Where the files lie; None to keep nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._mutex = threading.Lock()
        self._failed = False

    def put(
        self, topic: str, reason: str, payload: bytes | int, *, most: int = SHOWN_BYTES
    ) -> None:
        """Write down a message.

        Parameters
        ----------
        topic
            Where it came from.
        reason
            Why it was refused.
        payload
            Its bytes, or their number if nobody has kept them.
        most
            Of the payload, how much is kept. [B]
        """
        if self._folder is None:
            return
        shown = b"" if isinstance(payload, int) else payload[:most]
        line = {
            "time": f"{np.datetime64('now', 's')}Z",
            "topic": topic[:TOPIC_LETTERS],
            "reason": reason,
            "size": payload if isinstance(payload, int) else len(payload),
            "payload": base64.b64encode(shown).decode(),
        }
        try:
            with self._mutex:
                self._write(self._folder, json.dumps(line) + "\n")
            self._failed = False
        except OSError as error:
            if not self._failed:
                _logger.warning("quarantine not written", reason=error.strerror)
            self._failed = True

    @staticmethod
    def _write(folder: Path, line: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE
        if path.exists() and path.stat().st_size > FILE_BYTES:
            path.replace(folder / OLDER)
        with path.open("a", encoding="ascii") as file:
            file.write(line)
