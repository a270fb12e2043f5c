"""The network charges of a run: those of the bill without its fixed charges."""

import numpy as np
import pytest

import sites
from optimizer.backtesting.settlement import network_accounts
from tests.support.sample_tariffs import GERMAN, SPANISH, WHOLE_YEAR, quarters, tariff
from twin.markets.bills import compute_bill
from twin.markets.planned_billing import BillingRules
from twin.time_axes import QUARTER_HOUR

BERLIN = "Europe/Berlin"
TAXED = 1.0511269632
"""What a EUR on a line of the Spanish bill comes to. [1]"""


@pytest.fixture
def under():
    """Return the small site with a tariff instead of grid fees."""

    def make(**rules):
        plain = sites.load_site("small").with_parameters(
            "grid_1", import_fee=0.0, peak_price=0.0, export_fee=0.0
        )
        return plain.with_tariffs({"sample": tariff(**rules)})

    return make


def test_month_matches_the_bill_without_fixed_charges(under):
    """Proves: energy, peaks and excess of a Spanish month match the bill, up to rounding.

    Its tax of 5.11269632 % applies to all of them.
    """
    taxed_site = under(**SPANISH, peaks=[{"name": "power", "price": "1300 EUR/MW"}])
    starts = quarters("2026-02-28T23:00", "2026-03-31T22:00")
    load = np.random.default_rng(2).uniform(10.0, 24.0, len(starts))
    found = network_accounts(taxed_site, starts, load, peak_power=0.0)
    bill = compute_bill(taxed_site.tariffs["sample"], starts, load, time_zone=BERLIN)
    by_rule = {
        word: TAXED * sum(float(line.money) for line in bill.lines if line.rule.startswith(start))
        for word, start in (("network", "energy"), ("peak", "power"), ("excess", "excess"))
    }
    assert found.keys() == by_rule.keys()
    for account, money in by_rule.items():
        assert found[account] == pytest.approx(money, abs=2.0)
    assert by_rule["excess"] > 0.0


def test_year_of_band_load_matches_the_bill(under):
    """Proves: a year costs its share of the published charge of its class."""
    rules = GERMAN | {
        "utilisation": GERMAN["utilisation"] | {"plan_for": "band_load", "expected": "7900 h"},
        "standing": [],
    }
    load = np.full(len(WHOLE_YEAR), 9.0)
    load[77] = 10.0
    found = network_accounts(under(**rules), WHOLE_YEAR, load, peak_power=0.0)
    bill = compute_bill(tariff(**rules), WHOLE_YEAR, load, time_zone=BERLIN)
    assert sum(found.values()) == pytest.approx(float(bill.total), abs=1.0)
    later = network_accounts(under(**rules), WHOLE_YEAR, load, peak_power=9.5)
    assert found["peak"] - later["peak"] == pytest.approx(9.5 * 0.15 * 100_000.0)


@pytest.mark.parametrize(("before", "paid"), [(3.0, 250.0), (7.0, 200.0)])
def test_peak_that_occurs_anyway_is_not_charged_to_a_run(under, before, paid):
    """Proves: 8 MW in May, 9 in June, 6 MW anyway, at 50 EUR/MW: 2 and 3 MW; 1 and 3 above 7.

    Sensitivity: 700 and 500 EUR if the run caused them.
    """
    taxed_site = under(peaks=[{"name": "power", "price": "50 EUR/MW"}], expected_peak="6 MW")
    starts = quarters("2026-05-31T21:30", "2026-05-31T22:30")
    load = np.array([8.0, 4.0, 9.0, 5.0])
    found = network_accounts(taxed_site, starts, load, peak_power=before)
    assert found["peak"] == pytest.approx(paid)


def test_site_without_a_tariff_pays_grid_fees():
    """Proves: 12 EUR on 2 MWh, 2 EUR on 1 MWh given, 1,300 EUR for 1 MW above 3."""
    starts = quarters("2026-06-01T00:00", "2026-06-01T00:45")
    found = network_accounts(
        sites.load_site("small"), starts, np.array([4.0, 4.0, -4.0]), peak_power=3.0
    )
    assert found == {"network": pytest.approx(26.0), "peak": pytest.approx(1300.0)}


@pytest.mark.parametrize(
    ("hour", "peak", "calm"), [("08:00", 3.0, 3.0), ("08:00", 1.0, 2.0), ("20:00", 3.0, np.inf)]
)
def test_no_surcharge_outside_peak_windows(hour, peak, calm):
    """Proves: in the peak window the greater of peak and usual import is free, else all."""
    rules = {"peaks": [{"name": "p", "price": "9 EUR/MW", "windows": [{"hours": ["6-18"]}]}]}
    billing = BillingRules("UTC", {"sample": tariff(**rules)})
    moment = np.datetime64(f"2026-06-01T{hour}", "us")
    assert billing.uncharged_import(moment, peak=peak, mean_import=2.0) == calm


def test_contract_limits_the_atypical_load():
    contract = {"period": "all", "power": "2.5 MW", "price": "1 EUR/MW"}
    rules = {"periods": [{"name": "all"}], "contracted": [contract]}
    billing = BillingRules("UTC", {"sample": tariff(**rules)})
    moment = np.datetime64("2026-06-01T08:00", "us")
    assert billing.uncharged_import(moment, peak=9.0, mean_import=2.0) == 2.5
    assert BillingRules("UTC", {}).uncharged_import(moment, peak=9.0, mean_import=2.0) == 9.0


def test_plan_continues_under_the_last_tariff():
    """Proves: after its last day a tariff stays in force in plans, but not in bills."""
    billing = BillingRules(BERLIN, {"a": tariff(energy=[{"name": "a", "price": "7 EUR/MWh"}])})
    years = np.array([f"{year}-06-01" for year in (2020, 2026, 2030)], dtype="datetime64[us]")
    assert billing.energy_prices(years).tolist() == [7.0, 7.0, 7.0]


def test_billing_year_starts_with_its_peak():
    rules = {"peaks": [{"name": "p", "price": "9 EUR/MW", "of": "year"}]}
    billing = BillingRules(BERLIN, {"sample": tariff(**rules)})
    moment = np.datetime64("2026-06-01T08:00", "us")
    assert billing.period_start(moment) == WHOLE_YEAR[0]
    assert billing.period_end(moment) == WHOLE_YEAR[-1] + QUARTER_HOUR
