"""What a store can deliver and accept, by hand and at random."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.relations import Store

STORE = Store(
    owner="store",
    carrier="medium_voltage",
    min_level=1.0,
    max_level=9.0,
    charge_limit=2.0,
    discharge_limit=3.0,
    charge_efficiency=0.9,
    discharge_efficiency=0.8,
)


def test_power_that_empties_or_fills_a_store():
    """Proves: 4 MWh above the least level give 3.2 MWh at the bus, in half an hour 6.4 MW."""
    assert STORE.emptying_power(5.0, 0.5) == pytest.approx(6.4)
    assert STORE.emptying_power(5.0, 0.5, kept=3.0) == pytest.approx(1.6)
    assert STORE.filling_power(5.0, 0.5) == pytest.approx(4.0 / 0.9 / 0.5)
    assert STORE.emptying_power(0.5, 1.0) == pytest.approx(-0.4)
    assert (STORE.max_discharge(5.0, 0.5), STORE.max_charge(5.0, 0.5)) == (3.0, 2.0)
    assert (STORE.max_discharge(0.5, 1.0), STORE.max_charge(9.5, 1.0)) == (0.0, 0.0)


shares = st.floats(0.0, 1.0)


@given(share=shares, kept=shares, hours=st.floats(0.01, 48.0))
def test_largest_power_ends_at_rating_or_window(share, kept, hours):
    """Proves: the level stays within the window less what is kept, and nothing more is possible."""
    level, kept = 1.0 + 8.0 * share, 8.0 * kept
    charge, discharge = (
        float(power(level, hours, kept=kept)) for power in (STORE.max_charge, STORE.max_discharge)
    )
    filled = level + hours * STORE.level_rate(charge, 0.0)
    emptied = level + hours * STORE.level_rate(0.0, discharge)
    high, low = max(9.0 - kept, level), min(1.0 + kept, level)
    assert filled <= high + 1e-9
    assert emptied >= low - 1e-9
    assert charge == STORE.charge_limit or filled == pytest.approx(high)
    assert discharge == STORE.discharge_limit or emptied == pytest.approx(low)


def test_limits_are_on_the_axes_of_the_levels():
    levels = np.array([[1.0, 5.0], [9.0, 3.0]])
    assert STORE.max_discharge(levels, np.array([1.0, 2.0])).shape == (2, 2)
    assert STORE.max_charge(levels, 1.0)[1, 0] == 0.0
