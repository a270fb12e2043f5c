"""Chassis of an exascale cabinet: their power, and the declared powers of the rack."""

import pytest

import sites
from twin.errors import SiteError

HALL = "hall_1"


@pytest.fixture(scope="module")
def frontier():
    return sites.load_site("frontier")


def test_a_cabinet_by_hand(frontier):
    """A full node draws 2,704.26 W, 2,772.71 W before its converter; 4 rectifiers feed 16."""
    chassis = frontier.equipment[HALL].chassis
    assert 1e6 * chassis.node.power(1.0, 1.0) == pytest.approx(2704.26)
    node = (2704.26 + 13) / 0.98
    rectifier = ((16 * node + 4 * 250) / 4 + 17) / 0.96
    assert 1e6 * chassis.cabinet_power(1.0, 1.0) == pytest.approx(8 * 4 * rectifier)
    assert chassis.chip_count == 8 * 16 * 4


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("rack_power", 0.380, "rack_power must be 0.378595 MW, "),
        ("rack_idle_power", 0.09, "rack_idle_power must be 0.0958741 MW, "),
        ("chips_per_rack", 500, "chips_per_rack must be 512, "),
    ],
)
def test_declared_powers_are_those_of_the_chassis(frontier, key, value, fault):
    with pytest.raises(SiteError, match=fault) as caught:
        frontier.with_parameters(HALL, **{key: value})
    assert caught.value.issues[0].location == "equipment.hall_1"
