"""Carbon by location and by the market, and the share without any, by hand."""

import numpy as np
import pytest

import sites
from tests.steady import steady_run
from tests.twin.test_reporting import hourly
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


def test_import_counts_with_the_mix_of_its_hour():
    """Proves: 9 MW at 300 kg/MWh for a day and at 100 for the next."""
    mix = ("time", np.repeat([300.0, 100.0], 24), {"units": "kg MWh-1"})
    found = by_key(sites.load_site("small"), run(carbon_intensity=mix))
    assert found["carbon"].value == pytest.approx(9.0 * 24.0 * 400.0)
    assert "carbon-market" not in found


def test_what_no_contract_matches_counts_with_the_residual_mix(matching):
    """Proves: 5 of 9 MW for 48 h at 500 kg/MWh; 4 of 9 MW are free of carbon."""
    found = by_key(matching, run())
    assert found["carbon-market"].value == pytest.approx(5.0 * 48.0 * 500.0)
    assert found["carbon-free"].value == pytest.approx(4.0 / 9.0)
    assert found["carbon-free"].basis == "run and ppa_1"
    assert "carbon" not in found


def test_more_matched_than_bought_is_no_credit_for_another_hour(matching):
    """Proves: 20 MW of wind matched in the first day leave the second with the band alone."""
    wind = ("time", np.repeat([20.0, 0.0], 24), {"units": "MW"})
    found = by_key(matching, run(matched_power=wind))
    assert found["carbon-market"].value == pytest.approx(5.0 * 24.0 * 500.0)
    assert found["carbon-free"].value == pytest.approx((9.0 + 4.0) / 18.0)


def test_own_sun_counts_as_far_as_it_is_used(matching):
    """Proves: of 1 MW of sun 0.4 went out: 0.6 used beside 4 matched, of 9.6 MW."""
    what = run(renewable_used_power=hourly(1.0, "renewable", "solar_1"))
    what["grid_export_power"].values[:] = 0.4
    found = by_key(matching, what)
    assert found["carbon-free"].value == pytest.approx(4.6 / 9.6)


def test_a_report_leaves_the_share_to_whoever_meters_the_sun():
    """Proves: small has sun and wind; of a run that tells nothing of them no share is told."""
    told = {one.key: one for one in report_items(sites.load_site("small"), run())}
    assert told["carbon-free"].value is None
    assert told["carbon-free"].basis == "known by the operator of the meters of own power"


def test_what_is_matched_and_not_told_is_not_known(matching):
    """Proves: a contract without a band, of whose hours no file tells, is no import unmatched."""
    open_one = matching.with_parameters("ppa_1", band_power="0 MW")
    found = by_key(open_one, run())
    assert found["carbon-market"].value is found["carbon-free"].value is None
    assert found["carbon-free"].basis == "known by ppa_1: no file has matched_power"
    told = by_key(open_one, run(matched_power=("time", np.full(HOURS, 9.0), {"units": "MW"})))
    assert told["carbon-free"].value == pytest.approx(1.0)


def test_what_generators_give_is_not_free(matching):
    found = by_key(matching, run(genset_output=hourly(1.0, "genset", "genset_1")))
    assert found["carbon-free"].value == pytest.approx(4.0 / 10.0)
