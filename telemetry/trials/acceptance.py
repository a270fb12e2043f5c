"""What a calibration and an observer must be able to do, tried on plants that are known.

For each seed a worn plant runs for two weeks: the first calibrates the site, the second is
foretold. Another one, with a sensor that drifts and one that is stuck, is observed for a week.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from telemetry.plants.sensing import Sensing
from telemetry.trials.observing import failures, observe
from telemetry.trials.trial import Score, Trial
from twin.calibrate import Calibration, Grade, calibrate
from twin.calibration.parameters import value_of
from twin.site import Site

DAYS: Final = 7
"""Length of the history, of what is foretold, and of what is observed. [d]"""

MINUTES: Final = 1440
"""Minutes of a day. [min]"""

SEEDS: Final = 1000
"""Added to the seed of a plant for that of its failing sensors. [1]"""

MOST: Final = {"cv_rmse": 0.027, "nmbe": 0.01, "temperature_rmse": 0.5, "identified": 0.02}
"""Greatest errors allowed: shares of the mean power, kelvin, shares of the parameters."""

COVERAGE: Final = (0.92, 0.98)
"""Least and greatest share of hourly samples that the 95 % bounds may hold. [1]"""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of one seed.

    Attributes
    ----------
    seed
        Of everything hidden.
    score, before
        How well the calibrated site foretells the second week, and how well its file does.
    identified
        Greatest error of a parameter that counts as identified, a share. [1]
    which
        Its name.
    count
        Parameters that count as identified. [1]
    inside, samples
        Hourly samples whose bounds hold the truth, and all of them. [1]
    """

    seed: int
    score: Score
    before: Score
    identified: float
    which: str
    count: int
    inside: int
    samples: int


def prove(site: Site, surroundings: xr.Dataset, *, seed: int) -> Result:
    """Return what comes of one worn plant.

    Parameters
    ----------
    site
        What it is believed to be.
    surroundings
        Weather and available power of two weeks, in minutes.
    seed
        Of everything hidden.
    """
    week = DAYS * MINUTES
    plant = Trial.run(site, surroundings, seed=seed)
    told = calibrate(site, plant.readings.isel(time=slice(0, week)))
    worst, which, count = _worst(told, plant.hidden)
    rng = np.random.default_rng(SEEDS + seed)
    sensing = Sensing(failing=failures(site, DAYS, rng))
    short = surroundings.isel(time=slice(0, week), instant=slice(0, week + 1))
    seen = observe(Trial.run(site, short, seed=seed, sensing=sensing), site).within()
    return Result(
        seed=seed,
        score=plant.score(told.site, week, 2 * week),
        before=plant.score(site, week, 2 * week),
        identified=worst,
        which=which,
        count=count,
        inside=int(seen.sum()),
        samples=int(seen.size),
    )


def _worst(told: Calibration, hidden: Site) -> tuple[float, str, int]:
    """Return the greatest error of what counts as identified, its name, and how many do."""
    errors = {}
    for estimate in told.estimates:
        parameter = estimate.parameter
        if estimate.grade is Grade.IDENTIFIED and not parameter.is_offset:
            true = value_of(hidden.equipment[parameter.machine], parameter.path)
            errors[parameter.name] = abs(estimate.value / true - 1.0)
    if not errors:
        return 0.0, "", 0
    which = max(errors, key=lambda name: errors[name])
    return errors[which], which, len(errors)
