"""Calibrations of a site that are kept: one a week, to tell what wears."""

import json
from pathlib import Path
from typing import Final, cast

import numpy as np

from optimizer.service.folder import read_json
from telemetry.files import write_atomic
from twin.calibration.drift import CalibrationSummary, EstimatePoint

FILE: Final = "calibrations.json"
"""File of the state folder that holds them."""

KEPT: Final = 520
"""Most that are kept: ten years of weeks. [1]"""

DUE: Final = np.timedelta64(7, "D")
"""Time after which the next is due: histories that do not overlap."""


def kept(path: Path) -> list[CalibrationSummary]:
    """Return the calibrations of a file, in order of time; those that cannot be read are left out.

    Parameters
    ----------
    path
        The file; it need not be there.
    """
    rows = read_json(path).get("calibrations")
    found = [_week(row) for row in rows] if isinstance(rows, list) else []
    return sorted((week for week in found if week is not None), key=lambda week: week.start)


def keep(path: Path, week: CalibrationSummary) -> None:
    """Add a calibration to a file, whole or not at all; one of the same history is replaced.

    Parameters
    ----------
    path
        The file.
    week
        What the calibration has found.
    """
    others = [other for other in kept(path) if other.start != week.start]
    weeks = sorted([*others, week], key=lambda week: week.start)[-KEPT:]
    content = [
        {
            "start": str(one.start),
            "end": str(one.end),
            "points": {name: [point.value, point.error] for name, point in one.points.items()},
        }
        for one in weeks
    ]
    write_atomic(path, json.dumps({"calibrations": content}))


def is_due(path: Path, now: np.datetime64) -> bool:
    """Return whether the history since the last calibration is long enough for another."""
    weeks = kept(path)
    return not weeks or bool(now - weeks[-1].end >= DUE)


def _week(row: object) -> CalibrationSummary | None:
    try:
        content = cast("dict[str, dict[str, list[float]]]", row)
        points = {
            str(name): EstimatePoint(value=float(value), error=float(error))
            for name, (value, error) in content["points"].items()
        }
        start, end = (np.datetime64(str(content[name]), "us") for name in ("start", "end"))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return CalibrationSummary(start=start, end=end, points=points)
