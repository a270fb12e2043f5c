"""Linearised curves against physics: machines of random sites in random weather and outputs."""

import numpy as np
import pytest

import sites
from optimizer.curves.operating_range import CurveSamples, OperatingRange
from optimizer.curves.piecewise_linear import fit_piecewise_linear
from tests.support.random_sites import random_site
from twin.physics import psychrometrics
from twin.site import EQUIPMENT_KINDS
from twin.weather import Weather

SEEDS = range(4)
COUNT = 24
"""Intervals of a case. [1]"""

ROUNDING = 1e-9

MISSED = {"water": 0.02}
"""Share of the greatest draw by which a step between two samples may be missed. [1]"""

BENT = 1e-3
"""The same for other carriers: chillers start to cycle, or fans change speed, in between. [1]"""


def weather(rng):
    temperature = rng.uniform(-15.0, 42.0, COUNT)
    humidity, pressure = rng.uniform(0.1, 1.0, COUNT), rng.uniform(93.0, 104.0, COUNT)
    return Weather(
        air_temperature=temperature,
        wet_bulb_temperature=psychrometrics.wet_bulb_temperature(
            temperature, humidity, pressure=pressure
        ),
        humidity_ratio=psychrometrics.humidity_ratio(temperature, humidity, pressure=pressure),
        air_pressure=pressure,
    )


def reach(convert, outside, rng):
    """Return a random range within the limit."""
    limit = np.broadcast_to(convert.max_output(outside), COUNT)
    low, high = np.sort(rng.uniform(0.0, 1.0, (2, COUNT)), axis=0) * limit
    return OperatingRange(
        min_output=low,
        max_output=high,
        samples=(CurveSamples.sample(convert, outside, (low, high)),),
    )


@pytest.fixture(scope="module", params=SEEDS)
def case(request):
    rng = np.random.default_rng(request.param)
    return random_site(request.param), weather(rng), rng


def test_lines_exceed_physics_by_the_declared_error(case):
    site, outside, rng = case
    assert site.conversions
    for convert in site.conversions:
        curve = fit_piecewise_linear(convert, reach(convert, outside, rng))
        span = curve.segment_widths.sum(axis=1)
        for share in (0.0, *rng.uniform(0.0, 1.0, 20), 1.0):
            output = curve.min_output + share * span
            drawn = convert.flows_at_output(output, outside).inputs
            for carrier in convert.input_carriers:
                above = curve.draw(carrier, output) - drawn[carrier]
                missed = MISSED.get(carrier, BENT) * np.abs(drawn[carrier]).max() + ROUNDING
                place = f"{convert.owner}, {carrier}, {share:.3f}"
                assert above.min() >= -missed, place
                assert (above - curve.max_excess_over_curve[carrier]).max() <= missed, place


def test_primary_draws_are_convex(case):
    site, outside, rng = case
    for convert in site.conversions:
        curve = fit_piecewise_linear(convert, reach(convert, outside, rng))
        assert (
            np.diff(curve.segment_slopes[convert.primary_input], axis=1).min(initial=0.0)
            >= -ROUNDING
        )


def test_every_converting_kind_is_tested():
    tried = {
        site.equipment[convert.owner].kind
        for site in (*map(sites.load_site, sites.site_names()), *map(random_site, SEEDS))
        for convert in site.conversions
    }
    assert set(EQUIPMENT_KINDS) - tried == {
        "accelerators", "battery", "genset", "grid", "photovoltaic", "tank", "wind",
        "carbon_budget", "day_ahead", "hourly_matching", "load_target", "water_budget",
    }  # fmt: skip
