"""Power of all racks and of their halls."""

import numpy as np
import pytest
import xarray as xr

import sites
from twin.workload.queue import hall_powers, split_over_halls


def with_racks(**racks):
    """Return the small site with other numbers of racks, more than its machines can supply."""
    site = sites.load_site("small")
    halls = {name: site.equipment[name].with_values(racks=count) for name, count in racks.items()}
    return site.with_equipment({**site.equipment, **halls})


def test_halls_share_work_by_racks_up_to_full_power():
    # 10 and 30 of 40 racks of 132 kW: 5.28 MW at the most
    site = with_racks(hall_1=10, hall_2=30)
    spread = split_over_halls(site, xr.DataArray([4.0, 9.0], dims="time"))
    assert spread.attrs["units"] == "MW"
    np.testing.assert_allclose(spread.transpose("time", "hall"), [[1.0, 3.0], [1.32, 3.96]])


def test_work_is_spread_over_available_racks():
    # 40 racks idle at 24 kW; 2 MW of work on 39 racks is as 2 x 40/39 on all
    site = with_racks(hall_1=10, hall_2=30)
    found = hall_powers(site, work_power=2.0, service_racks=0.0, idle_racks=1)
    assert sum(found.values()) == pytest.approx(0.96 + 2.0 * 40 / 39)
    assert found["hall_2"] == pytest.approx(3.0 * found["hall_1"])
