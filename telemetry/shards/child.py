"""An ingester process as who started it sees it: what it tells, and that it is started again."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from telemetry.archive.losses import tell_reasons
from telemetry.intake.quarantine import Quarantine
from telemetry.shards.shard_process import Task
from telemetry.shards.site_archiver import FRUGAL

AGAIN: Final = (0.0, 3.0)
"""Wait before an ingester that died is started again, at first and at the longest. [s]

At the longest, and with the second or so of a start, it is ready within the 5 s that we promise.
"""

STEADY: Final = 10.0
"""Life after which the next death counts as the first. [s]"""

GOODBYE: Final = 30.0
"""Longest wait for an ingester that shall end. [s]"""

SUMMED: Final = (
    "messages",
    "unjournaled",
    "lost_at_sources",
    "dropped",
    "oversized",
    "spoilt",
)
"""What ingesters tell of, over all of their lives."""

GLANCE: Final = 0.25
"""Time between two looks at the ingesters. [s]"""

_logger = structlog.get_logger(__name__)


@dataclass
class Child:
    """One ingester process, and what it told last.

    Attributes
    ----------
    task
        What it hears.
    quarantine
        Gets what was too large for it.
    lost
        Folder of the archive, where losses are written down; None to say them only.
    process
        It; None before it was started.
    told
        What it told last.
    before
        What it told in its lives before this one.
    died, began
        When it was found dead, 0 while it lives, and when it was started last; of the monotonic
        clock. [s]
    pause
        Wait before it is started again. [s]
    """

    task: Task
    quarantine: Quarantine = field(default_factory=lambda: Quarantine(None))
    lost: Path | None = None
    process: subprocess.Popen[str] | None = None
    told: dict[str, object] = field(default_factory=dict)
    before: Counter[str] = field(default_factory=Counter)
    died: float = 0.0
    began: float = 0.0
    pause: float = 0.0

    def start(self) -> None:
        """Start it."""
        self.began = time.monotonic()
        words = [sys.executable, "-m", "telemetry.shards.shard_process"]
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | FRUGAL,
            start_new_session=True,  # Ctrl-C is ours to hand on
        )
        if self.process.stdin is not None:
            self.process.stdin.write(self.task.text())
            self.process.stdin.flush()
        threading.Thread(target=self._hear, args=(self.process,), daemon=True).start()

    def _hear(self, process: "subprocess.Popen[str]") -> None:
        for line in process.stdout or ():
            try:
                told = dict(json.loads(line))
            except (TypeError, ValueError):  # a library of the process wrote where it should not
                _logger.warning("ingester says", shard=self.task.client_id, line=line.strip())
                continue
            if told.get("is_connected") and not self.told.get("is_connected"):
                _logger.info("listening", shard=self.task.client_id)
            if (trouble := told.get("trouble")) and trouble != self.told.get("trouble"):
                _logger.warning("ingester in trouble", shard=self.task.client_id, reason=trouble)
            for topic, size in told.pop("too_large", ()):
                self.quarantine.put(topic, "too large", size)
            tell_reasons(self.lost, told.pop("damaged", ()))
            self.told = {**self.told, **told}
        if process.stdout is not None:
            process.stdout.close()

    def watch(self) -> None:
        """Start it again if it died."""
        if self.process is None or self.process.poll() is None:
            return
        if not self.died:
            self.died = time.monotonic()
            fault = self.told.get("fault", f"code {self.process.returncode}")
            is_steady = self.died - self.began > STEADY
            self.pause = AGAIN[0] if is_steady else min(2.0 * self.pause + GLANCE, AGAIN[1])
            trouble = f"ended by itself ({fault}) and is started again"
            self.before, self.told = self.counters, {"trouble": trouble}
            _logger.warning("ingester ended", shard=self.task.client_id, reason=fault)
        elif time.monotonic() - self.died >= self.pause:
            self.died = 0.0
            self.stop()  # the pipe to the dead one
            self.start()

    @property
    def counters(self) -> Counter[str]:
        """What it told, in this life and those before."""
        return self.before + Counter({one: int(str(self.told.get(one, 0))) for one in SUMMED})

    def stop(self) -> None:
        """Tell it to take in what waits, and to end."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    def join(self) -> None:
        """Wait until it has ended."""
        if self.process is not None:
            try:
                self.process.wait(GOODBYE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
