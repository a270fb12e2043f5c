"""Helpers that answer a question about a site or a machine in one line."""

import numpy as np
import pytest

import sites
import twin
from twin.equipment import CduBank, CoolingPlant
from twin.errors import IssueCode, SiteError, StateError


@pytest.fixture(scope="module")
def site():
    return sites.load_site("small")


def test_steady_load_in_one_line(site):
    """Proves: 0.9 of 28 racks of 132 kW; supply water stays at its set points."""
    run = twin.steady(site, air=20, humidity=0.5, load=0.9)
    assert float(run["hall_power"].sum()) == pytest.approx(0.9 * 28 * 0.132)
    assert float(run["closure"].max()) < 1e-9
    for plant in site.machines_of(CoolingPlant):
        water = run["facility_supply_temperature"].sel(circuit=plant.name)
        np.testing.assert_allclose(water, plant.supply_temperature, atol=0.01)
    warmer = twin.steady(site, air=35, humidity=0.5, load=0.9)
    assert float(warmer["facility_power"][0]) > float(run["facility_power"][0])
    assert float(twin.indicators(run)["pue"]) > 1.0


@pytest.mark.parametrize("load", [-0.1, 1.01, np.nan])
def test_impossible_load_is_refused(site, load):
    with pytest.raises(StateError) as refused:
        twin.steady(site, air=20.0, load=load)
    (issue,) = refused.value.issues
    assert (issue.code, issue.location) == (IssueCode.OUT_OF_RANGE, "load")


def test_machine_of_the_catalogue_in_one_line():
    """Proves: 2 units of 1.3 MW at rating, with pumps as declared; all flows are shown."""
    cdus = sites.standard_machine("row_1300_kw", count=2)
    assert isinstance(cdus, CduBank)
    flows = cdus.operate(2.6, twin.Weather.constant(air=20.0))
    pump = 2 * cdus.pump_power
    assert float(flows.inputs["critical"][0]) == pytest.approx(pump)
    assert float(flows.inputs["warm"][0]) == pytest.approx(2.6 + pump)
    assert float(flows.details["cdu_loading"][0]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("standard", "parameters", "code", "location"),
    [
        ("row_1300_kv", {}, IssueCode.UNKNOWN_NAME, "standard"),
        ("carrier_19xr_869", {}, IssueCode.UNKNOWN_NAME, "standard"),  # a part of a plant
        ("row_1300_kw", {}, IssueCode.MISSING, "count"),
        ("row_1300_kw", {"count": 0}, IssueCode.OUT_OF_RANGE, "count"),
        ("row_1300_kw", {"count": 1, "colour": "red"}, IssueCode.UNKNOWN_KEY, "colour"),
    ],
)
def test_invalid_standard_machine_is_refused(standard, parameters, code, location):
    with pytest.raises(SiteError) as refused:
        sites.standard_machine(standard, **parameters)
    (issue,) = refused.value.issues
    assert issue.code is code
    assert location in issue.location


def test_machine_without_conversion_says_so(site):
    with pytest.raises(SiteError) as refused:
        site.equipment["battery_1"].operate(0.1, twin.Weather.constant(air=20.0))
    (issue,) = refused.value.issues
    assert (issue.code, issue.location) == (IssueCode.UNSUPPORTED, "equipment.battery_1")
