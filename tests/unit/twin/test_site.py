"""A site: order of its machines, changed copies, and refused changes."""

import pickle

import pytest

import sites
from tests.support.random_sites import random_site
from tests.support.seeds import seeds
from twin.equipment import Battery, GridConnection, UpsBank
from twin.errors import IssueCode, SiteError
from twin.site_settings import SafetyMargins


@pytest.fixture
def small():
    return sites.load_site("small")


@pytest.mark.parametrize("seed", seeds(range(6)))
def test_consumers_run_before_suppliers(seed):
    delivered = set()
    for convert in random_site(seed).conversions:
        assert not delivered & set(convert.input_carriers)
        delivered.add(convert.output_carrier)
    assert delivered


def test_order_of_the_file_does_not_matter(small):
    turned = small.with_equipment(dict(reversed(small.equipment.items())))
    for site in (small, turned):
        outputs = [convert.output_carrier for convert in site.conversions]
        assert outputs.index("rack") < outputs.index("critical") < outputs.index("medium_voltage")


def test_circular_supply_is_refused(small):
    ups = small.equipment["ups_1"]

    class Circle(UpsBank):
        def relations(self):
            (convert,) = super().relations()
            return (type(convert)(**{**vars(convert), "input_carriers": ("rack",)}),)

    circle = small.with_equipment({**small.equipment, "ups_1": Circle.model_construct(**dict(ups))})
    with pytest.raises(SiteError, match=r"busway_1.*ups_1") as caught:
        _ = circle.conversions
    assert caught.value.code is IssueCode.INCONSISTENT


def test_relations_are_grouped_by_kind(small):
    assert [exchange.owner for exchange in small.exchanges] == ["grid_1", "solar_1", "wind_1"]
    assert [store.owner for store in small.stores] == ["battery_1", "tank_1"]
    assert [work.owner for work in small.flexible_loads] == ["hall_1", "hall_2"]
    assert small.demand_charges[0].price == 1300.0
    assert small.rack_count == 28
    assert small.machines_of(GridConnection) == (small.grid_connection,)


def test_grid_connection_is_the_first_exchange(small):
    turned = small.with_equipment(dict(reversed(small.equipment.items())))
    assert turned.exchanges[0].owner == "grid_1"


def test_changing_a_copy_leaves_the_site_unchanged(small):
    assert small.stores[0].max_level == 1.6  # also works the cached relations out
    larger = small.with_parameters("battery_1", capacity="2 MWh", power=1.0)
    assert (larger.stores[0].max_level, larger.stores[0].charge_limit) == (2.0, 1.0)
    assert small.machines_of(Battery)[0].capacity == 1.6


def test_single_margins_can_be_changed(small):
    careful = small.with_margins(SafetyMargins(temperature="2 K"))
    assert careful.margins.temperature == 2.0
    assert careful.equipment == small.equipment
    assert small.margins.temperature == 1.0


@pytest.mark.parametrize(
    ("machine", "values", "pattern"),
    [
        ("battery_7", {"power": 1.0}, r"battery_7.*battery_1"),
        (
            "battery_1",
            {"powr": 1.0},
            r"battery_1\.powr: .*unknown parameter of battery; did you .*power",
        ),
        ("tank_1", {"volum": "3 m3"}, r"tank_1\.volum: .* of tank; did you mean volume\?"),
        (
            "chilled_plant",
            {"chillers": {"x": 1}},
            r"chilled_plant\.chillers\.x: .*remove the unknown parameter \[",
        ),
        ("battery_1", {"power": -1.0}, r"battery_1\.power = -1\.0"),
        ("battery_1", {"power": "3 MWh"}, r"battery_1\.power = '3 MWh'"),
        ("hall_1", {"rack_idle_power": "200 kW"}, "below rack_power"),
        ("cdu_1", {"count": 2}, r"equipment\.cdu_1\] = 2\.6 MW: at least 3\.\d+ MW of liquid"),
        ("hall_air_1", {"rated_heat": 0.3}, r"equipment\.hall_air_1\] = 0\.3 MW: .*of air"),
        ("hall_1", {"racks": 40}, r"equipment\.\w+\] = .* MW: at least"),
        (
            "battery_1",
            {"reserve": 0.9, "ceiling": 0.5},
            r"equipment\.battery_1 = reserve = 0\.9, ceiling = 0\.5: .*reserve must be below",
        ),
    ],
)
def test_invalid_change_is_refused_with_its_location(small, machine, values, pattern):
    with pytest.raises(SiteError, match=pattern):
        small.with_parameters(machine, **values)


def test_pickled_site_holds_only_declared_data():
    here = sites.load_site("small")
    assert here.conversions  # holds functions that no pickle takes
    there = pickle.loads(pickle.dumps(here))
    assert there == here
    assert [convert.owner for convert in there.conversions] == [c.owner for c in here.conversions]


def test_machines_and_parameters_are_a_dataset():
    """Each machine has kind, carrier and circuit; parameters have units, and gaps elsewhere."""
    site = sites.load_site("rhine")
    table = site.to_dataset()
    machines = [name for name, machine in site.equipment.items() if machine.is_machine]
    assert table["machine"].to_numpy().tolist() == machines
    battery = table.sel(machine="battery_1")
    assert (battery["kind"], battery["carrier"], battery["circuit"]) == (
        "battery",
        "medium_voltage",
        "",
    )
    assert table["circuit"].sel(machine="cdu_1") == "warm_plant"
    assert table["battery_capacity"].attrs["units"] == "MWh"
    assert battery["battery_capacity"] == 80.0
    assert int(table["battery_capacity"].count()) == 1
    assert int(table["accelerators_racks"].sum()) == site.rack_count
