"""Threads without which a process cannot work, so that its watchdog can restart it."""

import threading
import time
from collections.abc import Callable
from threading import Event


class SupervisedThread(threading.Thread):
    """A daemon thread that has to make progress until an event is set.

    - `work`: what it runs; it calls :meth:`note_progress` repeatedly.
    - `deadline_s`: longest time without progress. [s]
    - `ended`: set when the thread is to end.
    """

    def __init__(
        self, work: Callable[[], None], *, name: str, deadline_s: float, ended: Event
    ) -> None:
        super().__init__(target=work, name=name, daemon=True)
        self._deadline_s, self._ended = deadline_s, ended
        self._progress_at = time.monotonic()

    def start(self) -> None:
        """Start the thread; its deadline counts from here."""
        self.note_progress()
        super().start()

    def note_progress(self) -> None:
        """Note that the thread works."""
        self._progress_at = time.monotonic()

    @property
    def failure(self) -> str:
        """Why the thread does not work; empty if it works, has not started, or is to end."""
        if self.ident is None or self._ended.is_set():
            return ""
        remedy = "see the log, and restart the service"
        if not self.is_alive():
            return f"the {self.name} thread ended by itself: {remedy}"
        silence = time.monotonic() - self._progress_at
        if silence > self._deadline_s:
            return f"the {self.name} thread has made no progress for {silence:.0f} s: {remedy}"
        return ""
