"""Real plants: valid, and with the published power of their machines."""

import re

import numpy as np
import pytest

import sites
from sites.catalogue import SITES_DIR
from tests.support.runs import steady
from twin.equipment import CoolingPlant, ITHall
from twin.simulation import state
from twin.simulation.simulate import simulate


@pytest.mark.parametrize("name", sites.site_names("validation"))
def test_every_validation_site_is_valid(name):
    assert sites.load_site(name).relations


def test_validation_sites_are_not_listed_as_sites():
    assert "frontier" in sites.site_names("validation")
    assert set(sites.site_names()).isdisjoint(sites.site_names("validation"))


@pytest.mark.parametrize(
    ("cpu", "gpu", "power"),
    [(0.0, 0.0, 7.3065), (0.33, 0.79, 22.9545), (1.0, 1.0, 28.2279)],
    ids=["idle", "HPL", "full"],
)
def test_frontier_draws_its_published_power(cpu, gpu, power):
    """Cabinets and the pumps of the CDUs, as the machine's own twin counts them."""
    site = sites.load_site("frontier")
    hall = site.equipment["hall_1"]
    operation = steady(site, count=2)
    operation["hall_power"][:] = hall.racks * hall.chassis.cabinet_power(cpu, gpu)
    run = simulate(site, state.initial_state(site), operation)
    found = run["hall_power"].sum("hall") + run["cdu_pump_power"].sum("cdu")
    np.testing.assert_allclose(found, power, rtol=1e-4)  # 1e-3 is asked for
    assert run["closure"].max() < 1e-6


def test_frontier_rack_draws_its_green500_power():
    """The test system of June 2022 is one such rack: 19.2 PFlop/s at 62.8 GFlop/s a watt."""
    cabinet = sites.load_site("frontier").equipment["hall_1"].chassis.cabinet_power(0.33, 0.79)
    assert cabinet == pytest.approx(19.2 / 62.8, rel=0.01)


PLACE = ("title", "zone", "time_zone", "latitude", "longitude", "elevation", "kind", "serves")


@pytest.mark.parametrize("name", sites.site_names("validation"))
def test_every_number_has_a_source_or_is_marked_assumed(name):
    text = (SITES_DIR / "validation" / f"{name}.toml").read_text(encoding="utf-8")
    count = 0
    for line in text.splitlines():
        word, _, value = line.partition(" = ")
        said, _, note = value.partition(" # ")
        if not re.fullmatch(r"\w+", word) or word in (*PLACE, "standard", "throughput"):
            continue
        if re.search(r"\d", said) and said != "0":  # no service is no number
            count += 1
            assert re.search(r"\[\d\]|assumed", note), f"{name}: {line}"
    assert count > 10


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("jupiter", 15.5, 17.5), ("leonardo", 9.5, 10.5)],
)
def test_hosts_draw_their_published_maximum_power(name, low, high):
    """About 17 MW and about 10 MW, all in all, on a mild day at full work."""
    site = sites.load_site(name)
    operation = steady(site, count=2, share=1.0)
    run = simulate(site, state.initial_state(site), operation)
    assert low < float(run["facility_power"][-1]) < high


def test_hosts_have_their_published_size_and_water():
    chips = {
        name: sum(
            hall.racks * hall.chips_per_rack for hall in sites.load_site(name).machines_of(ITHall)
        )
        for name in ("jupiter", "leonardo", "frontier")
    }
    assert chips["jupiter"] == pytest.approx(24_000, rel=0.02)  # about 24,000 in 125 racks
    assert chips["leonardo"] == pytest.approx(4 * 3_456, rel=0.01)
    assert chips["frontier"] == 37_888
    warm, chilled = sites.load_site("leonardo").machines_of(CoolingPlant)
    assert (warm.supply_temperature, warm.temperature_range) == (37.0, 10.0)  # 37 to 47 degC
    assert (chilled.supply_temperature, chilled.temperature_range) == (19.0, 7.0)  # 19 to 26 degC
