"""What wears: a calibration a week, in a process of its own, and what those tell together.

Nothing here waits: the process is started, and looked after later. Decisions go on beside it.
"""

import multiprocessing
import os
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import numpy as np
import structlog

import telemetry
from optimizer.service.calibrations import DUE, FILE, is_due, keep, kept
from optimizer.service.watching.alarms import Severity
from telemetry.files import NO_FILE_STAMP, file_stamp
from telemetry.logging import run_with_logging
from twin.calibration.drift import CalibrationSummary, ParameterDrift, parameter_drifts
from twin.calibration.identification import calibrate
from twin.errors import GigatwinError
from twin.site import Site

AGAIN: Final = np.timedelta64(1, "D")
"""Time between two looks whether a calibration is due."""

SETTLE: Final = np.timedelta64(1, "h")
"""Wait after a start: there is enough to do."""

LONGEST: Final = np.timedelta64(1, "h")
"""Longest time that a calibration may take."""

LOWEST: Final = 19
"""Priority of the process: decisions go first. [1]"""

logger = structlog.get_logger(__name__)


class Wear:
    """Calibrates a site once a week, and tells what has worn.

    Parameters
    ----------
    site
        The site.
    folder
        State folder: archive and calibrations lie in it.
    is_asleep
        Whether nothing is calibrated: simulated weeks pass in minutes.
    """

    def __init__(self, site: Site, folder: Path, *, is_asleep: bool = False) -> None:
        self._site, self._folder = site, folder
        self._path, self._is_asleep = folder / FILE, is_asleep
        self._next: np.datetime64 | None = None
        self._begun = np.datetime64(0, "us")
        self._process: BaseProcess | None = None
        self._stamp = NO_FILE_STAMP
        self._changes: tuple[ParameterDrift, ...] = ()

    def look(self, now: np.datetime64) -> None:
        """Begin a calibration if one is due, or see to the one that runs; never waits.

        Parameters
        ----------
        now
            The service's time.
        """
        if self._process is not None:
            self._see_to(self._process, now)
        if self._process is not None or self._is_asleep:
            return
        if self._next is None or self._next > now + AGAIN:  # a clock may be set back
            self._next = now + SETTLE
        if now < self._next:
            return
        self._next = now + AGAIN
        if is_due(self._path, now):
            context = multiprocessing.get_context("spawn")
            self._process = context.Process(
                target=run_with_logging,
                args=(calibrate_week, self._site, self._folder, now),
                daemon=True,
            )
            self._begun = now
            self._process.start()
            logger.info("calibration begun", site=self._site.name)

    def alarm(self) -> tuple[str, Severity, str]:
        """Return what has worn, how grave that is, and what to do about it."""
        lost = [change for change in self.changes() if change.loss > 0.0]
        severity = Severity.MEDIUM if any(change.is_grave for change in lost) else Severity.LOW
        mend = "plan maintenance; `gigatwin calibrate SITE --drift` tells more"
        return "; ".join(change.text for change in lost), severity, mend

    def changes(self) -> tuple[ParameterDrift, ...]:
        """Return what has changed, read anew when there is another calibration."""
        found = file_stamp(self._path)
        if found not in (self._stamp, NO_FILE_STAMP):
            self._stamp, self._changes = found, parameter_drifts(kept(self._path))
        return self._changes

    def stop(self) -> None:
        """End a calibration that runs: the next start begins it again."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None

    def _see_to(self, process: BaseProcess, now: np.datetime64) -> None:
        if process.is_alive():
            if not self._begun <= now <= self._begun + LONGEST:
                logger.warning("calibration ended", reason="it took too long")
                self.stop()
            return
        process.join()
        self._process = None
        if process.exitcode:
            logger.warning("calibration failed", code=process.exitcode)


def calibrate_week(site: Site, folder: Path, now: np.datetime64) -> None:
    """Calibrate a site by the last week of its archive, and keep what was found.

    Parameters
    ----------
    site
        The site.
    folder
        State folder.
    now
        End of the week.
    """
    with suppress(OSError):  # a unit may forbid it
        os.nice(LOWEST)
    try:
        history = telemetry.open(site, start=now - DUE, end=now, root=folder)
        told = calibrate(site, history)
    except GigatwinError as error:
        logger.warning("no calibration", site=site.name, reason=str(error))
        return
    keep(folder / FILE, CalibrationSummary.of(told))
    logger.info("calibrated", site=site.name, unknown=len(told.unknown), said=list(told.said))
