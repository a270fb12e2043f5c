"""Location-based and market-based carbon, and the carbon-free share, by hand."""

import numpy as np
import pytest

import sites
from tests.support.steady_site import steady_run
from tests.unit.twin.reporting.test_eu_report import hourly
from twin.markets.contracts import HourlyMatching
from twin.reporting.eu_report import report_items
from twin.reporting.indicators import carbon_items

HOURS = 48


@pytest.fixture
def matching():
    """Return a site whose contract matches 4 MW of every hour; the residual mix has 500 kg/MWh."""
    site = sites.load_site("small")
    contract = HourlyMatching(name="ppa_1", band_power="4 MW", residual_intensity="500 kg/MWh")
    return site.with_equipment({**site.equipment, "ppa_1": contract})


def run(**words):
    return steady_run("2026-07-01", HOURS, **words)


def by_key(site, what):
    return {one.key: one for one in carbon_items(site, what)}


def test_import_has_the_carbon_intensity_of_its_hour():
    """Proves: 9 MW at 300 kg/MWh for a day and at 100 for the next."""
    mix = ("time", np.repeat([300.0, 100.0], 24), {"units": "kg MWh-1"})
    found = by_key(sites.load_site("small"), run(carbon_intensity=mix))
    assert found["carbon"].value == pytest.approx(9.0 * 24.0 * 400.0)
    assert "carbon-market" not in found


def test_unmatched_import_has_the_residual_mix(matching):
    """Proves: 5 of 9 MW for 48 h at 500 kg/MWh; 4 of 9 MW are free of carbon."""
    found = by_key(matching, run())
    assert found["carbon-market"].value == pytest.approx(5.0 * 48.0 * 500.0)
    assert found["carbon-free"].value == pytest.approx(4.0 / 9.0)
    assert found["carbon-free"].basis == "run and ppa_1"
    assert "carbon" not in found


def test_surplus_matching_gives_no_credit_to_other_hours(matching):
    """Proves: 20 MW of wind matched in the first day leave the second with the band alone."""
    wind = ("time", np.repeat([20.0, 0.0], 24), {"units": "MW"})
    found = by_key(matching, run(matched_power=wind))
    assert found["carbon-market"].value == pytest.approx(5.0 * 24.0 * 500.0)
    assert found["carbon-free"].value == pytest.approx((9.0 + 4.0) / 18.0)


def test_own_renewables_count_as_far_as_they_are_used(matching):
    """Proves: of 1 MW of sun 0.4 went out: 0.6 used beside 4 matched, of 9.6 MW."""
    what = run(renewable_used_power=hourly(1.0, "renewable", "solar_1"))
    what["grid_export_power"].values[:] = 0.4
    found = by_key(matching, what)
    assert found["carbon-free"].value == pytest.approx(4.6 / 9.6)


def test_carbon_free_share_is_unknown_without_own_meters():
    """Proves: small has sun and wind; a run without their powers has no share."""
    items = {one.key: one for one in report_items(sites.load_site("small"), run())}
    assert items["carbon-free"].value is None
    assert items["carbon-free"].basis == "known by the operator of the meters of own power"


def test_matching_without_hourly_data_is_unknown(matching):
    """Proves: a contract without a band, without hourly data, is not unmatched import."""
    open_one = matching.with_parameters("ppa_1", band_power="0 MW")
    found = by_key(open_one, run())
    assert found["carbon-market"].value is found["carbon-free"].value is None
    assert found["carbon-free"].basis == "known by ppa_1: no file has matched_power"
    items = by_key(open_one, run(matched_power=("time", np.full(HOURS, 9.0), {"units": "MW"})))
    assert items["carbon-free"].value == pytest.approx(1.0)


def test_generator_power_is_not_carbon_free(matching):
    found = by_key(matching, run(genset_output=hourly(1.0, "genset", "genset_1")))
    assert found["carbon-free"].value == pytest.approx(4.0 / 10.0)
