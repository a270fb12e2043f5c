"""Gensets and backup power, by hand."""

import numpy as np
import pytest
from pydantic import ValidationError

import sites
from sites.checks import backup_issues
from tests.support.runs import steady, total
from twin.equipment import Genset
from twin.errors import IssueCode
from twin.simulation import state
from twin.simulation.simulate import simulate
from twin.site_settings import ResilienceSettings

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


def test_fuel_follows_published_efficiencies():
    # at its rating a set burns 2 / 0.4 = 5 MW, at half of it 1 / 0.36 = 2.778 MW. 4 MW run two
    # sets at their rating, 5 MW three at 5/6: loss 1/2 x 1/0.36 - 1/2 = 0.8889 to 1.5, two thirds
    # of the way 1.2963; 3 x 2 x (5/6 + 1.2963)
    burnt = bank().fuel_power(np.array([0.0, 1.0, 2.0, 4.0, 5.0]))
    assert burnt == pytest.approx([0.0, 1 / 0.36, 5.0, 10.0, 6 * (5 / 6 + 1.296296)])


def test_load_bank_keeps_a_set_at_its_minimum_load():
    # 0.2 MW want a tenth of a set: it runs at 0.3, whose loss is a fifth of the way from
    # 0.25 x (1/0.32 - 1) = 0.53125 to 0.88889, 0.602778; so 2 x 0.902778 = 1.80556 MW are burnt
    found = bank().supply(np.array([0.2]), np.array([50.0]))
    assert found.inputs["fuel"] == pytest.approx([1.805556])
    assert found.heat == pytest.approx([1.605556])
    assert found.details["genset_loading"] == pytest.approx([0.1])


def test_genset_output_is_at_most_order_load_and_rating():
    found = bank().supply(np.array([3.0, 3.0, 30.0, 3.0]), np.array([5.0, 1.0, 30.0, -1.0]))
    assert found.details["genset_output"] == pytest.approx([3.0, 1.0, 10.0, 0.0])
    assert found.details["genset_units_on"] == pytest.approx([2.0, 1.0, 5.0, 0.0])


def test_energy_to_bridge_by_hand():
    # two failed attempts of 15 s, 10 s and 2 s are 42 s: 3.6 MW x 42 / 3600 = 0.042 MWh
    assert bank().bridge_time == pytest.approx(42.0)
    assert bank().bridging_energy(3.6) == pytest.approx(0.042)


def test_energy_to_bridge_until_the_last_load_block():
    # 7.2 MW come in two blocks, the second 5 s later: 7.2 x 47 / 3600 = 0.094 MWh; 60 MW are more
    # than four sets of 2 MW carry, which are full after 47 s: 60 x 47 / 3600 = 0.7833
    assert bank().bridging_energy(7.2) == pytest.approx(0.094)
    assert bank().bridging_energy(60.0) == pytest.approx(0.783333, abs=1e-6)


def test_load_is_taken_in_blocks():
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
def test_invalid_bank_is_refused(changed, words):
    with pytest.raises(ValidationError, match=words):
        bank(**changed)


def test_islanded_site_burns_fuel_and_imports_nothing():
    site = sites.load_site("small")
    operation = steady(site)
    rows = np.full((operation.sizes["time"], 1), 100.0)
    operation = operation.assign_coords(genset=["genset_1"])
    operation["genset_power"] = ("time", "genset"), rows, {"units": "MW"}
    calm = simulate(site, state.initial_state(site), steady(site))
    island = simulate(site, state.initial_state(site), operation)
    assert total(calm, "genset_fuel").max() == 0.0
    # only the core loss of the transformers is still imported
    assert total(island, "transformer_output") == pytest.approx(0.0)
    assert total(island, "grid_import_power") == pytest.approx(0.007, abs=1e-6)
    gap = total(calm, "facility_power") - total(calm, "transformer_loss") + 0.007
    assert total(island, "facility_power") == pytest.approx(gap)
    assert island["closure"].max() < 1e-9


def issues(site, **changed):
    machines = {**site.equipment, "genset_1": site.equipment["genset_1"].with_values(**changed)}
    return list(backup_issues(site.with_equipment(machines)))


def test_battery_keeps_its_charge_floor():
    site = sites.load_site("small").with_parameters("battery_1", power="4 MW")
    assert issues(site) == []
    # the UPS hold 300 s, and 0.2 x 1.6 x 0.96 = 0.307 MWh of battery are 292 s of 3.785 MW more;
    # 5 x 115 + 12 s, and 5 s to the second block, are 592 s
    assert issues(site, failed_starts=5, attempt_time=115.0) == []
    (late,) = issues(site, failed_starts=5, attempt_time=116.0)
    assert late.location == "[equipment.genset_1] start_time"
    assert "for 597 s" in late.expected
    assert "ups_autonomy" in late.remedy


def test_gensets_must_suffice_and_start_in_time():
    site = sites.load_site("small")
    (few,) = issues(site, count=1, spare=0, rating=1.0)
    assert (few.code, few.location) == (IssueCode.OUT_OF_RANGE, "[equipment.genset_1] count")
    assert "they give 1 MW" in few.remedy
    short = site.model_copy(update={"contingency": ResilienceSettings(power_gap="11 s")})
    (gap,) = backup_issues(short)
    assert (gap.code, gap.location) == (IssueCode.INCONSISTENT, "[contingency] power_gap")
    assert gap.expected.startswith("at least 12 s")
