"""What is said of a history: sensors that drift, and nothing of arithmetic's rounding."""

import re

import numpy as np
import pytest

from twin.calibration.strange import trends


def drifting(name, *, rise, error):
    """Return what is said of six days of quarter-hours that rise evenly, a little restless."""
    rng = np.random.default_rng(0)
    course = np.linspace(0.0, rise, 6 * 96) + 1e-3 * rise * rng.standard_normal(6 * 96)
    return list(trends({name: course}, {name: error}))


def test_a_drift_beyond_the_error_of_its_meter_is_said_with_its_unit():
    (told,) = drifting("facility_supply_temperature.warm_plant", rise=0.6, error=0.05)
    assert re.match(r"facility_supply_temperature.warm_plant moved by \+0.[56]\d* K over", told)


@pytest.mark.parametrize("rise", [1e-10, 0.02])
def test_what_no_meter_could_show_is_not_said(rise):
    """Proves: a run of the twin itself is foretold to its rounding, which may have a trend.

    Sensitivity: `cooling_plant_draw.warm_plant moved by +1.63e-10: a sensor drifts`.
    """
    assert not drifting("cooling_plant_draw.warm_plant", rise=rise, error=0.03)
    assert drifting("cooling_plant_draw.warm_plant", rise=0.04, error=0.03)
