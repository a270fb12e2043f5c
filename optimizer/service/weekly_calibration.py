"""A calibration each week in its own process, and the wear that the calibrations show together.

Nothing waits for the process: it is started and checked later, beside the decisions.
"""

import json
import multiprocessing
import os
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final, cast

import numpy as np
import structlog

import telemetry
from optimizer.service.state_folder import read_state_file
from telemetry.durable_files import NO_FILE_STAMP, file_stamp, write_atomic
from telemetry.runtime import run_with_logging
from twin.calibration.calibrate import calibrate
from twin.calibration.drift import (
    CalibrationSummary,
    EstimatePoint,
    ParameterDrift,
    parameter_drifts,
)
from twin.errors import GigatwinError
from twin.site import Site

DUE_CHECK_INTERVAL: Final = np.timedelta64(1, "D")
"""Time between two checks whether a calibration is due."""

CALIBRATION_DELAY_AFTER_START: Final = np.timedelta64(1, "h")
"""Delay after a start of the service."""

MAX_DURATION: Final = np.timedelta64(1, "h")
"""Longest duration of a calibration."""

NICENESS: Final = 19
"""Niceness of the process: decisions have priority. [1]"""

logger = structlog.get_logger(__name__)


class DriftMonitor:
    """Calibrate a site once a week, and report which machines have worn.

    ``folder`` is the state folder with archive and calibrations. ``is_disabled`` is set for a
    simulated plant, whose weeks pass in minutes.
    """

    def __init__(self, site: Site, folder: Path, *, is_disabled: bool = False) -> None:
        self._site, self._folder = site, folder
        self._path, self._is_disabled = folder / CALIBRATIONS_FILE, is_disabled
        self._next: np.datetime64 | None = None
        self._started_at = np.datetime64(0, "us")
        self._process: BaseProcess | None = None
        self._stamp = NO_FILE_STAMP
        self._changes: tuple[ParameterDrift, ...] = ()

    def update(self, now: np.datetime64) -> None:
        """Start a calibration if one is due, or check the running one; never wait."""
        if self._process is not None:
            self._check_process(self._process, now)
        if self._process is not None or self._is_disabled:
            return
        if (
            self._next is None or self._next > now + DUE_CHECK_INTERVAL
        ):  # a clock may have been set back
            self._next = now + CALIBRATION_DELAY_AFTER_START
        if now < self._next:
            return
        self._next = now + DUE_CHECK_INTERVAL
        if is_calibration_due(self._path, now):
            context = multiprocessing.get_context("spawn")
            self._process = context.Process(
                target=run_with_logging,
                args=(calibrate_last_week, self._site, self._folder, now),
                daemon=True,
            )
            self._started_at = now
            self._process.start()
            logger.info("calibration started", site=self._site.name)

    def wear_drifts(self) -> tuple[ParameterDrift, ...]:
        """Return the changes by which machines have worn."""
        return tuple(change for change in self.parameter_drifts() if change.loss > 0.0)

    def parameter_drifts(self) -> tuple[ParameterDrift, ...]:
        """Return the changes of parameters, read again when there is another calibration."""
        found = file_stamp(self._path)
        if found not in (self._stamp, NO_FILE_STAMP):
            self._stamp, self._changes = found, parameter_drifts(read_calibrations(self._path))
        return self._changes

    def stop(self) -> None:
        """End a running calibration; the next start repeats it."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None

    def _check_process(self, process: BaseProcess, now: np.datetime64) -> None:
        if process.is_alive():
            if not self._started_at <= now <= self._started_at + MAX_DURATION:
                logger.warning("calibration ended", reason="it took too long")
                self.stop()
            return
        process.join()
        self._process = None
        if process.exitcode:
            logger.warning("calibration failed", code=process.exitcode)


def calibrate_last_week(site: Site, folder: Path, now: np.datetime64) -> None:
    """Calibrate a site on the last week of its archive before ``now``, and store the result."""
    with suppress(OSError):  # a systemd unit may forbid it
        os.nice(NICENESS)
    try:
        history = telemetry.open(site, start=now - CALIBRATION_INTERVAL, end=now, root=folder)
        calibration = calibrate(site, history)
    except GigatwinError as error:
        logger.warning("no calibration", site=site.name, reason=str(error))
        return
    store_calibration(folder / CALIBRATIONS_FILE, CalibrationSummary.from_calibration(calibration))
    logger.info(
        "calibrated",
        site=site.name,
        unknown=len(calibration.unidentified),
        said=list(calibration.data_quality),
    )


CALIBRATIONS_FILE: Final = "calibrations.json"
"""File of the calibrations in the state folder."""

MAX_CALIBRATIONS: Final = 520
"""Stored calibrations: ten years of weeks. [1]"""

CALIBRATION_INTERVAL: Final = np.timedelta64(7, "D")
"""Time between calibrations, so that histories do not overlap."""


def read_calibrations(path: Path) -> list[CalibrationSummary]:
    """Return the readable calibrations of a file by time; none if it is missing."""
    rows = read_state_file(path).get("calibrations")
    found = [_week(row) for row in rows] if isinstance(rows, list) else []
    return sorted((week for week in found if week is not None), key=lambda week: week.start)


def store_calibration(path: Path, week: CalibrationSummary) -> None:
    """Add a calibration to a file, whole or not at all; one of the same history is replaced."""
    others = [other for other in read_calibrations(path) if other.start != week.start]
    weeks = sorted([*others, week], key=lambda week: week.start)[-MAX_CALIBRATIONS:]
    content = [
        {
            "start": str(one.start),
            "end": str(one.end),
            "points": {
                name: [point.value, point.standard_error] for name, point in one.estimates.items()
            },
        }
        for one in weeks
    ]
    write_atomic(path, json.dumps({"calibrations": content}))


def is_calibration_due(path: Path, now: np.datetime64) -> bool:
    """Return whether the history since the last calibration is long enough for another."""
    weeks = read_calibrations(path)
    return not weeks or bool(now - weeks[-1].end >= CALIBRATION_INTERVAL)


def _week(row: object) -> CalibrationSummary | None:
    try:
        content = cast("dict[str, dict[str, list[float]]]", row)
        points = {
            str(name): EstimatePoint(value=float(value), standard_error=float(error))
            for name, (value, error) in content["points"].items()
        }
        start, end = (np.datetime64(str(content[name]), "us") for name in ("start", "end"))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return CalibrationSummary(start=start, end=end, estimates=points)
