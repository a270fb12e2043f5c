"""Ramps: only those that flexibility could have reduced are refused."""

import numpy as np
import pytest
import xarray as xr

from tests.support.hand import battery, grid, outlook, site, source
from twin.feasibility.connection import check_ramp
from twin.time_axes import interval_axes

PLACE = site(
    battery(capacity=4.0, power=1.0), source(power=10.0), connection=grid(ramp=0.1, import_limit=5)
)
"""May turn by 0.1 MW/min for ten minutes: 1 MW from one quarter-hour to the next."""


def judged(before, after, *, level=2.0, work=0.0, sun=(0.0, 0.0), **flows):
    """Return the steepness of one step, and what of it is needless."""
    edges = outlook([20.0], hours=0.25)["instant"].to_numpy()
    axis = interval_axes(edges)
    ahead = axis.assign(
        grid_import_power=("time", [max(after, 0.0)]),
        grid_export_power=("time", [max(-after, 0.0)]),
        hall_power=(("time", "hall"), [[3.0 + work]]),
        renewable_used_power=(("time", "renewable"), [[sun[0]]]),
        renewable_available_power=(("time", "renewable"), [[sun[1]]]),
    ).assign_coords(renewable=["sun"], hall=["hall"])
    moved = {f"battery_{way}": flows.get(way, 0.0) for way in ("charge", "discharge")}
    ran = axis.assign(
        {name: (("time", "battery"), [[value]]) for name, value in moved.items()}
        | {"battery_level": (("instant", "battery"), [[level], [level]])}
    ).assign_coords(battery=["battery"])
    state = xr.Dataset({"grid_import_power": max(before, 0.0), "grid_export_power": 0.0})
    found = check_ramp(PLACE, state, ahead, replay=ran, floor=np.array([3.0]))
    return tuple(float(ratio[0]) for ratio in found)


def test_kept_ramp_is_not_excessive():
    assert judged(2.0, 3.0) == pytest.approx((1.0, 1.0))
    assert judged(3.0, 2.5) == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize(
    ("given", "is_needless"),
    [
        ({"discharge": 1.0}, False),
        ({"discharge": 0.5}, True),
        ({"charge": 1.0, "level": 0.0}, True),
        ({"level": 0.0}, False),
        ({"discharge": 1.0, "work": 0.5}, True),
        ({"discharge": 1.0, "sun": (1.0, 2.0)}, True),
        ({"discharge": 1.0, "sun": (10.0, 12.0)}, False),
    ],
)
def test_rise_is_avoidable_while_flexibility_is_left(given, is_needless):
    """Proves: from 0 to 3 MW, three times the ramp, is nobody's fault once all is done."""
    assert judged(0.0, 3.0, **given) == pytest.approx((3.0, 3.0 if is_needless else 1.0))


@pytest.mark.parametrize(
    ("given", "is_needless"),
    [
        ({"charge": 1.0}, False),
        ({"charge": 0.5}, True),
        ({"level": 4.0}, False),
        ({"level": 4.0, "discharge": 0.5}, True),
        ({"charge": 1.0, "sun": (1.0, 1.0)}, True),
    ],
)
def test_fall_is_avoidable_while_something_can_take_more(given, is_needless):
    assert judged(5.0, 2.0, **given) == pytest.approx((3.0, 3.0 if is_needless else 1.0))


def test_fall_to_the_connection_limit_is_not_avoidable():
    """Proves: at 5 of 5 MW nothing can take more, however steep the way from 8 MW was."""
    assert judged(8.0, 5.0) == pytest.approx((3.0, 1.0))
