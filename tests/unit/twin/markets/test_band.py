"""Band load through the year, and successive tariffs."""

from decimal import Decimal

import numpy as np
import pytest

from tests.support.sample_tariffs import BERLIN, GERMAN, WHOLE_YEAR, YEAR, quarters, tariff
from twin.errors import SeriesError
from twin.markets import planned_billing
from twin.markets.bills import bills_by_year, compute_bill, rebate_class, utilisation_hours
from twin.markets.planned_billing import constant_load_status
from twin.markets.tariffs import Tariff, expired_tariff_warnings


def test_half_a_year_gives_the_need_of_the_rest():
    """Proves: 8 MW for the first 4,380 h of 8,760, one quarter-hour of them 10 MW.

    35,040.5 MWh so far, 3,504 h of use; the mean 8.0001 MW gives 70,081 MWh and 7,008 h: 7,000 h
    are expected. They need 70,000 - 35,040.5 = 34,959.5 MWh in 4,380 h, 7.9816 MW; 8,000 h need
    44,959.5 MWh, 10.2647 MW, more than the peak. At 70,081 MWh the peak may be 10.0116 MW for
    7,000 h. Published 10 x 100,000 + 70,081 x 5 = 1,350,405 EUR, of which 0.8 is 1,080,324 EUR.
    """
    load = np.full(17_520, 8.0)
    load[5] = 10.0
    status = constant_load_status(tariff(**GERMAN), WHOLE_YEAR[:17_520], load, time_zone=BERLIN)
    assert status is not None
    assert (status.energy, status.peak, status.unmetered_hours, status.remaining_hours) == (
        35_040.5,
        10.0,
        0.0,
        4_380.0,
    )
    assert status.utilisation_hours == pytest.approx(3_504.05)
    assert status.expected_utilisation_hours == pytest.approx(7_008.1)
    assert status.expected_class_hours == 7_000.0
    assert status.required_mean_import[7000.0] == pytest.approx(7.981621, abs=1e-6)
    assert status.required_mean_import[8000.0] == pytest.approx(10.264726, abs=1e-6)
    assert status.required_mean_import[8000.0] > status.peak
    assert status.max_peak[7000.0] == pytest.approx(10.011571, abs=1e-6)
    assert status.charge == pytest.approx(1_350_405.0)
    assert status.rebate_value[7000.0] == pytest.approx(1_080_324.0)


def test_unmetered_start_of_the_year_has_the_mean():
    """Proves: what lay before the first quarter-hour is taken to be as the mean."""
    week = WHOLE_YEAR[9_600:10_272]
    status = constant_load_status(tariff(**GERMAN), week, np.full(672, 8.0), time_zone=BERLIN)
    assert status is not None
    assert status.unmetered_hours == 2_400.0
    assert status.unmetered_hours + status.remaining_hours + 168.0 == 8_760.0
    assert status.expected_utilisation_hours == pytest.approx(8_760.0)
    assert status.expected_class_hours == 8_000.0


def test_minimum_energy_is_part_of_the_need():
    """Proves: half a year of 1 MW is 4,380 MWh; 10,000 need 5,620 in 4,380 h, more than the peak.

    Sensitivity: 0.598 MW for 7,000 MWh, which no discount is given for.
    """
    status = constant_load_status(
        tariff(**GERMAN), WHOLE_YEAR[:17_520], np.ones(17_520), time_zone=BERLIN
    )
    assert status is not None
    assert status.required_mean_import[7000.0] == pytest.approx(5_620.0 / 4_380.0)


def test_tariff_without_the_rule_has_no_status():
    assert constant_load_status(tariff(), WHOLE_YEAR[:96], np.ones(96), time_zone=BERLIN) is None


@pytest.mark.parametrize(("expected", "paid"), [("0 MWh", 0.1), ("9 GWh", 1.0), ("11 GWh", 0.1)])
def test_plans_ignore_classes_out_of_reach(expected, paid):
    """Proves: below 10 GWh the bill of 8,000 h is the published one, and so are a plan's prices."""
    rules = GERMAN | {
        "utilisation": GERMAN["utilisation"] | {"plan_for": "band_load", "expected": "8000 h"},
        "band_load": GERMAN["band_load"] | {"expected_energy": expected},
    }
    assert planned_billing.planned_peak_price(tariff(**rules)) == pytest.approx(100_000.0 * paid)
    assert (planned_billing.rebate_peak_limit(tariff(**rules)) is None) == (expected != "11 GWh")


def test_expired_rule_has_no_status():
    """Proves: where a bill knows no branch of band load, the status reports no rebate."""
    over = {**GERMAN, "band_load": GERMAN["band_load"] | {"valid_to": "2026-01-01"}}
    load = np.full(96, 8.0)
    found = compute_bill(tariff(**over), WHOLE_YEAR[:96], load, time_zone=BERLIN)
    assert "band_load" not in {branch.name for branch in found.charge_options}
    assert constant_load_status(tariff(**over), WHOLE_YEAR[:96], load, time_zone=BERLIN) is None


@pytest.mark.parametrize(
    ("energy", "peak", "share"),
    [(70_000.0, 10.0, 0.2), (69_999.0, 10.0, 1.0), (80_000.0, 10.0, 0.1), (9_000.0, 1.0, 1.0)],
)
def test_paid_share_by_class(energy, peak, share):
    """Proves: by class, and nothing off under 10 GWh."""
    band = tariff(**GERMAN).band_load
    reached = rebate_class(band, utilisation_hours(energy, peak), energy)
    assert (reached.share if reached else 1.0) == share


def test_expected_rebate_equals_the_bill_of_the_year():
    """Proves: watched at the year's end, the class and its worth are those of the bill."""
    load = np.random.default_rng(1).uniform(8.0, 9.9, len(WHOLE_YEAR))
    status = constant_load_status(tariff(**GERMAN), WHOLE_YEAR, load, time_zone=BERLIN)
    found = compute_bill(tariff(**GERMAN), WHOLE_YEAR, load, time_zone=BERLIN)
    assert status is not None
    assert status.remaining_hours == 0.0
    assert status.expected_utilisation_hours == pytest.approx(found.utilisation_hours)
    ways = {way.name: float(way.money) for way in found.charge_options}
    saved = ways["published"] - ways["band_load"]
    assert status.rebate_value[status.expected_class_hours] == pytest.approx(
        saved, abs=60.0
    )  # whole kW and kWh


def test_a_year_end_makes_two_bills():
    """Proves: each quarter-hour is billed by the tariff of its own day, in local time."""
    rules = {"energy": [{"name": "a", "price": "10 EUR/MWh"}]}
    old = Tariff.model_validate(YEAR | rules)
    dear = {"name": "later", "valid_from": "2027-01-01", "valid_to": None}
    dear["energy"] = [{"name": "a", "price": "20 EUR/MWh"}]
    new = Tariff.model_validate(YEAR | dear)
    starts = quarters("2026-12-31T22:00", "2027-01-01T00:00")
    found = bills_by_year({"b": new, "a": old}, starts, np.full(8, 4.0), time_zone=BERLIN)
    assert [one.tariff for one in found] == ["sample", "later"]
    assert [one.total for one in found] == [Decimal("40.00"), Decimal("80.00")]


def test_days_before_the_first_tariff_are_refused():
    starts = quarters("2025-06-01T00:00", "2025-06-01T01:00")
    words = r"2025-06-01: a day within.*from 2026-01-01 to before 2027.*declare a tariff"
    with pytest.raises(SeriesError, match=words):
        bills_by_year({"a": tariff()}, starts, np.ones(4), time_zone=BERLIN)


def test_last_tariff_is_carried_forward_with_a_warning():
    """Sensitivity: days after the last tariff were refused, though none is published yet."""
    rules = {"energy": [{"name": "a", "price": "10 EUR/MWh"}]}
    tariffs = {"a": Tariff.model_validate(YEAR | rules)}
    starts = quarters("2026-12-31T22:00", "2027-01-01T00:00")  # an hour in each year
    found = bills_by_year(tariffs, starts, np.full(8, 4.0), time_zone=BERLIN)
    assert [one.total for one in found] == [Decimal("40.00"), Decimal("40.00")]
    (warning,) = expired_tariff_warnings(tariffs, starts, BERLIN)
    assert "carried forward to 4 of 8 intervals, until 2027-01-01" in warning
    assert expired_tariff_warnings(tariffs, starts[:4], BERLIN) == []


def test_classes_reached_at_year_end_need_nothing():
    """Proves: 8,760 h of 8 MW: 0 for the classes that are reached, and none can be made up for."""
    status = constant_load_status(
        tariff(**GERMAN), WHOLE_YEAR, np.full(len(WHOLE_YEAR), 8.0), time_zone=BERLIN
    )
    assert status is not None
    assert status.remaining_hours == 0.0
    assert set(status.required_mean_import.values()) == {0.0}
    halved = np.where(np.arange(len(WHOLE_YEAR)) < 100, 16.0, 8.0)
    status = constant_load_status(tariff(**GERMAN), WHOLE_YEAR, halved, time_zone=BERLIN)
    assert status is not None
    assert set(status.required_mean_import.values()) == {np.inf}
