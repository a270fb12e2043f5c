"""A process of the demo, with its own log."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from twin.errors import ServiceError, ValidationIssue

PATIENCE: Final = 60.0
"""Longest wait for a process that should end by itself. [s]"""

FAREWELL: Final = 90.0
"""Longest wait for a process that was told to end, as `deploy/systemd` has it. [s]"""

TAIL: Final = 5
"""Lines of a log that an error shows. [1]"""


class Process:
    """A process of the demo.

    Parameters
    ----------
    folder
        Where its log goes.
    name
        What its log is called.
    """

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.log = name, folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, words: Sequence[str]) -> None:
        """Start a sub-command of gigatwin."""
        self.run(["-m", "optimizer.cli", *words])

    def run(self, words: Sequence[str]) -> None:
        """Start Python; it ends with us at the latest."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    @property
    def is_started(self) -> bool:
        """Whether it was started."""
        return self._process is not None

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return None if self._process is None else self._process.poll()

    @property
    def last_words(self) -> str:
        """The end of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-TAIL:])

    def wait(self) -> None:
        """Wait until it has ended by itself.

        Raises
        ------
        ServiceError
            If it does not; its last words are told.
        """
        if self._process is not None:
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.give_up(f"has not ended within {PATIENCE:g} s")

    def give_up(self, why: str) -> NoReturn:
        """Raise ServiceError: say why the demo cannot go on, and the last words of this process."""
        mend = f"{why}; its log ends with\n{self.last_words}"
        raise ServiceError("demo", [ValidationIssue(place=str(self.log), value="", mend=mend)])

    def end(self) -> None:
        """End it, politely first."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(FAREWELL)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
