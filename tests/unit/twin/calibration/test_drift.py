"""Drift: wear is reported with its size and date; sound machines are not reported."""

import numpy as np
import pytest

import sites
from telemetry.simulator.calibration_trial import CalibrationTrial
from tests.support import skies
from twin.calibration.calibrate import calibrate
from twin.calibration.drift import (
    REFERENCE_CALIBRATION_COUNT,
    CalibrationSummary,
    EstimatePoint,
    parameter_drifts,
)

MONDAY = np.datetime64("2026-03-02T00:00", "us")
EIR = "chilled_plant.chillers.eir_factor"
FOULING = "cdu_1.fouling"


def weeks(error=0.004, seed=0, scatter=1.0, **trajectories):
    """Return weekly calibrations of parameters with errors that are as large as they say."""
    rng = np.random.default_rng(seed)
    names = {
        "eir": EIR,
        "fouling": FOULING,
        "offset": "warm_plant.facility_supply_temperature.offset",
    }
    count = len(next(iter(trajectories.values())))
    return [
        CalibrationSummary(
            start=MONDAY + step * np.timedelta64(7, "D"),
            end=MONDAY + (step + 1) * np.timedelta64(7, "D") - np.timedelta64(15, "m"),
            estimates={
                names[word]: EstimatePoint(
                    value=trajectory[step] + scatter * rng.normal(0.0, error), standard_error=error
                )
                for word, trajectory in trajectories.items()
            },
        )
        for step in range(count)
    ]


def test_worn_chiller_is_reported_with_size_and_month():
    """1 / 1.087 is 8 % less COP; the tenth week ends on 10 May 2026."""
    course = np.r_[np.full(10, 1.0), np.full(12, 1.087)]
    (change,) = parameter_drifts(weeks(eir=course))
    assert change.text == "the chillers of chilled_plant lost 8% of their COP since May"
    assert change.significance > 5.0
    assert change.loss == pytest.approx(0.08, abs=0.01)
    assert not change.is_severe


def test_fouled_exchanger_is_reported_with_its_day():
    """The fourteenth week ends on 7 June 2026."""
    course = np.r_[np.full(14, 1.0), np.full(3, 0.94)]
    (change,) = parameter_drifts(weeks(fouling=course))
    expected = "the exchanger of cdu_1 passes 6% less heat at the same difference since 7 June"
    assert change.text == expected


def test_improvement_is_reported_as_improvement():
    (change,) = parameter_drifts(weeks(eir=np.r_[np.full(8, 1.2), np.full(4, 1.0)]))
    assert "won back 20% of their COP" in change.text
    assert change.loss < 0.0
    assert not change.is_severe


def test_slow_loss_is_found():
    (change,) = parameter_drifts(weeks(eir=1.0 + 0.006 * np.arange(26)))
    assert change.is_severe
    assert change.since < MONDAY + np.timedelta64(12 * 7, "D")


def test_sensor_offset_is_reported_in_kelvin():
    (change,) = parameter_drifts(weeks(error=0.02, offset=np.r_[np.zeros(8), np.full(3, 0.5)]))
    assert "facility_supply_temperature of warm_plant has moved by +0.48 K" in change.text
    assert not change.is_severe


@pytest.mark.parametrize("seed", range(40))
def test_insignificant_change_is_not_reported(seed):
    """A year of weeks, and errors half as large again as they say."""
    flat = np.full(52, 1.0)
    assert parameter_drifts(weeks(seed=seed, scatter=1.5, error=0.01, eir=flat, fouling=flat)) == ()


def test_single_deviating_week_is_ignored():
    course = np.r_[np.full(12, 1.0), 1.3]
    assert parameter_drifts(weeks(eir=course)) == ()


def test_few_weeks_give_no_report():
    assert parameter_drifts([]) == ()
    assert parameter_drifts(weeks(eir=np.r_[np.full(REFERENCE_CALIBRATION_COUNT, 1.0), 1.3])) == ()


def test_small_change_is_not_reported():
    assert (
        parameter_drifts(weeks(error=0.0005, eir=np.r_[np.full(8, 1.0), np.full(4, 1.015)])) == ()
    )


def test_overlapping_histories_count_once():
    every = weeks(eir=np.r_[np.full(4, 1.0), np.full(2, 1.3)])
    assert len(parameter_drifts(every)) == 1
    shifted = [
        CalibrationSummary(
            start=MONDAY + step * np.timedelta64(1, "D"), end=every[0].end, estimates=week.estimates
        )
        for step, week in enumerate(every)
    ]
    assert parameter_drifts(shifted) == ()


@pytest.mark.slow
@pytest.mark.parametrize("is_worn", [True, False])
def test_wear_of_a_simulated_chiller_is_found(is_worn):
    """Proves: from telemetry to words; the chillers lose 8 % of their COP after five stretches.

    Sensitivity: the plant beside it does not wear, and nothing is said of it.
    """
    site = sites.load_site("small")
    found = []
    for step in range(8):
        plant = site
        if is_worn and step >= 5:
            chilled = site.equipment["chilled_plant"]
            tired = chilled.chillers.model_copy(update={"eir_factor": 1.0 / 0.92})
            worn = chilled.model_copy(update={"chillers": tired})
            plant = site.with_equipment({**site.equipment, "chilled_plant": worn})
        result = calibrate(site, _telemetry(plant, step))
        moved = np.timedelta64(7 * step, "D")
        week = CalibrationSummary.from_calibration(result)
        found.append(
            CalibrationSummary(
                start=week.start + moved, end=week.end + moved, estimates=week.estimates
            )
        )
    texts = [change.text for change in parameter_drifts(found)]
    if is_worn:
        assert len(texts) == 1
        assert "the chillers of chilled_plant lost 8% of their COP since" in texts[0]
    else:
        assert texts == []


def _telemetry(plant, step):
    """Return two days of a plant that is as given, under another load each time."""
    surroundings = skies.minutes("small", days=2)
    return CalibrationTrial.run(plant, surroundings, seed=step, share=0.0).readings


def test_drift_through_the_mean_is_reported():
    """Proves: 0.98, 0.98, 1.02, 1.02 have a mean that none is near, and 1.2 is 20 % more.

    It was as before at the end of the fourth week, 29 March 2026. Sensitivity: an IndexError.
    """
    course = np.r_[0.98, 0.98, 1.02, 1.02, np.full(8, 1.2)]
    (change,) = parameter_drifts(weeks(error=0.002, scatter=0.0, eir=course))
    assert change.reference_value == pytest.approx(1.0)
    assert change.since == np.datetime64("2026-03-29T23:45")
