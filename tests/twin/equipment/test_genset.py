"""Gensets and what they are for, by hand."""

import numpy as np
import pytest
from pydantic import ValidationError

import sites
from sites.checks import backup_issues
from tests.runs import steady, total
from twin.declarations import ResilienceSettings
from twin.equipment import Genset
from twin.simulation import state
from twin.simulation.simulate import simulate

BANK = {
    "name": "genset",
    "count": 5,
    "spare": 1,
    "rating": "2 MW",
    "load_points": (0.25, 0.5, 1.0),
    "efficiency_points": (0.32, 0.36, 0.4),
    "minimum_load": 0.3,
    "start_time": "10 s",
    "failed_starts": 2,
    "attempt_time": "15 s",
    "transfer_time": "2 s",
    "block": 0.5,
    "block_interval": "5 s",
    "fuel_volume": "10 m3",
    "heating_value": "10 MWh/m3",
    "test_every": "30 d",
    "test_time": "1 h",
    "test_load": 0.5,
    "permit_hours": "50 h",
}


def bank(**changed):
    return Genset.model_validate(BANK | changed)


def test_fuel_by_published_efficiencies():
    # at its rating a set burns 2 / 0.4 = 5 MW, at half of it 1 / 0.36 = 2.778 MW. 4 MW run two
    # sets at their rating, 5 MW three at 5/6: loss 1/2 x 1/0.36 - 1/2 = 0.8889 to 1.5, two thirds
    # of the way 1.2963; 3 x 2 x (5/6 + 1.2963)
    burnt = bank().fuel(np.array([0.0, 1.0, 2.0, 4.0, 5.0]))
    assert burnt == pytest.approx([0.0, 1 / 0.36, 5.0, 10.0, 6 * (5 / 6 + 1.296296)])


def test_a_load_bank_keeps_a_set_at_its_least_load():
    # 0.2 MW want a tenth of a set: it runs at 0.3, whose loss is a fifth of the way from
    # 0.25 x (1/0.32 - 1) = 0.53125 to 0.88889, 0.602778; so 2 x 0.902778 = 1.80556 MW are burnt
    found = bank().supply(np.array([0.2]), np.array([50.0]))
    assert found.inputs["fuel"] == pytest.approx([1.805556])
    assert found.heat == pytest.approx([1.605556])
    assert found.details["genset_loading"] == pytest.approx([0.1])


def test_sets_give_no_more_than_is_asked_drawn_or_rated():
    found = bank().supply(np.array([3.0, 3.0, 30.0, 3.0]), np.array([5.0, 1.0, 30.0, -1.0]))
    assert found.details["genset_output"] == pytest.approx([3.0, 1.0, 10.0, 0.0])
    assert found.details["genset_units_on"] == pytest.approx([2.0, 1.0, 5.0, 0.0])


def test_what_must_be_bridged():
    # two failed attempts of 15 s, 10 s and 2 s are 42 s: 3.6 MW x 42 / 3600 = 0.042 MWh
    assert bank().bridge_time == pytest.approx(42.0)
    assert bank().bridging_energy(3.6) == pytest.approx(0.042)


def test_what_must_be_bridged_until_the_last_block_is_taken():
    # 7.2 MW come in two blocks, the second 5 s later: 7.2 x 47 / 3600 = 0.094 MWh; 60 MW are more
    # than four sets of 2 MW carry, which are full after 47 s: 60 x 47 / 3600 = 0.7833
    assert bank().bridging_energy(7.2) == pytest.approx(0.094)
    assert bank().bridging_energy(60.0) == pytest.approx(0.783333, abs=1e-6)


def test_load_comes_in_blocks():
    # four sets of 2 MW take 4 MW at once and the rest 5 s later; of 8.1 MW nothing is sure
    taken = bank().load_pickup_time(np.array([0.0, 4.0, 4.1, 8.0, 8.1]))
    assert taken == pytest.approx([42.0, 42.0, 47.0, 47.0, np.inf])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"spare": 5}, "spare must be below count"),
        ({"test_load": 0.2}, "raise test_load to minimum_load"),
        ({"test_every": "5 d"}, "tests take 73 h a year"),
        ({"load_points": (0.5, 0.25, 1.0)}, "must rise"),
        ({"load_points": (0.0, 0.5, 1.0)}, "rise from above 0"),
        ({"efficiency_points": (0.3, 0.4)}, "the same length"),
        ({"efficiency_points": (0.3, 0.4, 1.0)}, "between 0 and 1"),
        ({"rating": "0 MW"}, "must be above 0 MW"),
    ],
)
def test_a_bank_that_cannot_be_is_refused(changed, words):
    with pytest.raises(ValidationError, match=words):
        bank(**changed)


def test_an_island_burns_fuel_and_takes_nothing_from_the_grid():
    site = sites.load_site("small")
    operation = steady(site)
    rows = np.full((operation.sizes["time"], 1), 100.0)
    operation = operation.assign_coords(genset=["genset_1"])
    operation["genset_power"] = ("time", "genset"), rows, {"units": "MW"}
    calm = simulate(site, state.initial_state(site), steady(site))
    island = simulate(site, state.initial_state(site), operation)
    assert total(calm, "genset_fuel").max() == 0.0
    # the transformers' core is all that still hangs on the grid
    assert total(island, "transformer_output") == pytest.approx(0.0)
    assert total(island, "grid_import_power") == pytest.approx(0.007, abs=1e-6)
    gap = total(calm, "facility_power") - total(calm, "transformer_loss") + 0.007
    assert total(island, "facility_power") == pytest.approx(gap)
    assert island["closure"].max() < 1e-9


def faults(site, **changed):
    machines = {**site.equipment, "genset_1": site.equipment["genset_1"].with_values(**changed)}
    return [str(fault) for fault in backup_issues(site.with_equipment(machines))]


def test_a_site_is_held_to_its_charge_floor():
    site = sites.load_site("small").with_parameters("battery_1", power="4 MW")
    assert faults(site) == []
    # the UPS hold 300 s, and 0.2 x 1.6 x 0.96 = 0.307 MWh of battery are 292 s of 3.785 MW more;
    # 5 x 115 + 12 s, and 5 s to the second block, are 592 s
    assert faults(site, failed_starts=5, attempt_time=115.0) == []
    (late,) = faults(site, failed_starts=5, attempt_time=116.0)
    assert "the sets take 597 s" in late
    assert "ups_autonomy" in late


def test_gensets_must_be_enough_and_in_time():
    site = sites.load_site("small")
    (few,) = faults(site, count=1, spare=0, rating=1.0)
    assert "declare more sets" in few
    short = site.model_copy(update={"contingency": ResilienceSettings(power_gap="11 s")})
    (gap,) = (str(fault) for fault in backup_issues(short))
    assert "after 12 s at the earliest" in gap
