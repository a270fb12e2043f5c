"""Tariffs in a site file: their form, and what is refused."""

import tomllib
from datetime import date

import pytest

from sites.loading import build_site
from twin.errors import IssueCode

TABLES = """
[tariffs.first]
valid_from = 2026-01-01
valid_to = 2027-01-01
status = "assumed"
source = "assumed"
peaks = [{ name = "power", price = "15.6 EUR/kW", of = "year" }]

[[tariffs.first.periods]]
name = "day"
days = "working"
hours = ["6-22"]

[[tariffs.first.periods]]
name = "night"

[[tariffs.first.energy]]
name = "transfer by day"
price = "1.2 ct/kWh"
periods = ["day"]

[tariffs.second]
valid_from = 2027-01-01
status = "draft"
source = "assumed"
peaks = [{ name = "power", price = "16 EUR/kW", of = "year" }]
"""


@pytest.fixture
def with_tariffs(table):
    """Return the table of a site without plain fees, with two tariffs."""
    for key in ("import_fee", "peak_price"):
        table["equipment"]["grid_1"].pop(key, None)
    text = TABLES.replace("1.2 ct/kWh", "0.012 EUR/kWh")
    return table | tomllib.loads(text)


def test_tariffs_are_read_with_units_and_dates(with_tariffs):
    first, second = build_site(with_tariffs, "small", source="small.toml").tariffs.values()
    assert (first.name, first.valid_from) == ("first", date(2026, 1, 1))
    assert first.energy[0].price == pytest.approx(12.0)
    assert first.peaks[0].price == pytest.approx(15_600.0)
    assert first.peak_span == second.peak_span == "year"
    assert second.valid_to is None


def test_overlapping_tariffs_are_refused(with_tariffs, issues_of):
    del with_tariffs["tariffs"]["first"]["valid_to"]
    (issue,) = issues_of(with_tariffs)
    assert (issue.code, issue.location) == (IssueCode.TIME_ORDER, "[tariffs.first] valid_to")


def test_simple_fees_beside_a_tariff_are_refused(with_tariffs, issues_of):
    with_tariffs["equipment"]["grid_1"]["peak_price"] = "1300 EUR/MW"
    (issue,) = issues_of(with_tariffs)
    assert issue.code is IssueCode.INCONSISTENT
    assert (issue.location, issue.found) == ("[equipment.grid_1] peak_price", "1300 EUR/MW")


def test_mixed_peak_spans_are_refused(with_tariffs, issues_of):
    with_tariffs["tariffs"]["second"]["peaks"][0]["of"] = "month"
    (issue,) = issues_of(with_tariffs)
    assert (issue.code, issue.location) == (IssueCode.INCONSISTENT, "[tariffs.second]")
    assert "month" in issue.found
    assert "peaks of a year, as in first" in issue.expected


def test_tariff_without_peaks_fits_any_span(with_tariffs, issues_of):
    """Proves: peaks of 2027 are of a year, whatever stands before; its register is none of months.

    Sensitivity: "those of first of a month", of which it has none.
    """
    del with_tariffs["tariffs"]["first"]["peaks"]
    assert not issues_of(with_tariffs)
    site = build_site(with_tariffs, "small", source="small.toml")
    assert site.tariffs["first"].peak_span is None
    assert site.billing_rules.peak_period == "year"


@pytest.mark.parametrize(("day", "count"), [("2026-06-16", 1), ("2026-06-01", 0)])
def test_tariff_change_within_a_month_is_refused(with_tariffs, issues_of, facts_of, day, count):
    """Proves: the peak of June would be paid by both; from the first on each has its own months."""
    rules = with_tariffs["tariffs"]
    peak = {"name": "power", "price": "100 EUR/MW", "of": "month"}
    rules["first"] |= {"valid_to": date.fromisoformat(day), "peaks": [peak]}
    rules["second"] |= {"valid_from": date.fromisoformat(day), "valid_to": date(2027, 1, 1)}
    rules["second"] |= {"peaks": [peak]}
    location = "[tariffs.second] valid_from"
    assert facts_of(with_tariffs) == [("time-order", location, "2026-06-16")] * count
    rules["second"]["peaks"] = []
    assert not issues_of(with_tariffs)


def test_issues_name_their_location(with_tariffs, issues_of):
    with_tariffs["tariffs"]["first"]["energy"][0]["price"] = "12 EUR/kW"
    with_tariffs["tariffs"]["second"]["stage"] = "draft"
    with_tariffs["tariffs"]["second"]["peaks"][0]["of"] = "week"
    locations = [issue.location for issue in issues_of(with_tariffs)]
    assert "[tariffs.first.energy] price" in locations
    assert "[tariffs.second] stage" in locations
    assert "[tariffs.second.peaks] of" in locations


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("valid_from", 2026, "[tariffs.first] valid_from = 2026: a valid value; write a date"),
        (
            "valid_from",
            "1.1.2026",
            '[tariffs.first] valid_from = "1.1.2026": a valid value; write a date',
        ),
        (
            "holidays",
            ["2026-01-01", 5],
            "[tariffs.first] holidays = 5: a valid value; write a date",
        ),
        ("energy", {"name": "a", "price": "1 EUR/MWh"}, "[tariffs.first.energy]"),
    ],
)
def test_invalid_dates_and_lists_have_a_remedy(with_tariffs, issues_of, place, value, expected):
    """Proves: a year instead of a day, or one row instead of several, is reported with a remedy.

    Sensitivity: "Datetimes provided to dates should have zero time", "should be a valid tuple".
    """
    with_tariffs["tariffs"]["first"][place] = value
    (issue,) = issues_of(with_tariffs)
    assert str(issue).startswith(expected)
    assert "2026-01-31" in issue.remedy or "in brackets, as [{ ... }]" in issue.remedy


def test_values_instead_of_tables_are_refused(with_tariffs, facts_of):
    """Sensitivity: "should be a valid dictionary or instance of PeakPrice"."""
    with_tariffs["tariffs"]["first"]["peaks"] = ["16 EUR/kW"]
    with_tariffs["weights"] = "3 EUR/m3"
    assert facts_of(with_tariffs) == [
        ("wrong-type", "weights", '"3 EUR/m3"'),
        ("wrong-type", "[tariffs.first] peaks", '"16 EUR/kW"'),
    ]


def test_single_text_instead_of_a_list_is_refused(with_tariffs, issues_of):
    with_tariffs["tariffs"]["first"]["periods"][0]["hours"] = "6-22"
    (issue,) = issues_of(with_tariffs)
    assert (issue.code, issue.location) == (IssueCode.WRONG_TYPE, "[tariffs.first.periods] hours")
    assert '["6-22"]' in issue.remedy
