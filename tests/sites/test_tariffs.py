"""Tariffs in a site file: how they stand there, and what is refused."""

import tomllib
from datetime import date

import pytest

from sites.loading import build_site

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


def test_tariffs_are_read_with_their_units_and_days(with_tariffs):
    first, second = build_site(with_tariffs, "small", source="small.toml").tariffs.values()
    assert (first.name, first.valid_from) == ("first", date(2026, 1, 1))
    assert first.energy[0].price == pytest.approx(12.0)
    assert first.peaks[0].price == pytest.approx(15_600.0)
    assert first.peak_span == second.peak_span == "year"
    assert second.valid_to is None


def test_two_tariffs_on_one_day(with_tariffs, told):
    del with_tariffs["tariffs"]["first"]["valid_to"]
    (fault,) = told(with_tariffs)
    assert fault.startswith("[tariffs.first] valid_to: at most ")


def test_plain_fees_beside_a_tariff(with_tariffs, told):
    with_tariffs["equipment"]["grid_1"]["peak_price"] = "1300 EUR/MW"
    (fault,) = told(with_tariffs)
    assert fault.startswith(
        "[equipment.grid_1] peak_price = 1300 EUR/MW: no such fee beside a tariff"
    )


def test_peaks_of_a_month_after_those_of_a_year(with_tariffs, told):
    with_tariffs["tariffs"]["second"]["peaks"][0]["of"] = "month"
    (fault,) = told(with_tariffs)
    assert fault == "[tariffs.second]: its peaks are of a month, those of first of a year"


def test_a_tariff_without_peaks_goes_with_any(with_tariffs, told):
    """Proves: peaks of 2027 are of a year, whatever stands before; its register is none of months.

    Sensitivity: "those of first of a month", of which it has none.
    """
    del with_tariffs["tariffs"]["first"]["peaks"]
    assert not told(with_tariffs)
    site = build_site(with_tariffs, "small", source="small.toml")
    assert site.tariffs["first"].peak_span is None
    assert site.billing_rules.span == "year"


@pytest.mark.parametrize(("day", "count"), [("2026-06-16", 1), ("2026-06-01", 0)])
def test_a_tariff_that_changes_within_a_month(with_tariffs, told, day, count):
    """Proves: the peak of June would be paid by both; from the first on each has its own months."""
    rules = with_tariffs["tariffs"]
    peak = {"name": "power", "price": "100 EUR/MW", "of": "month"}
    rules["first"] |= {"valid_to": date.fromisoformat(day), "peaks": [peak]}
    rules["second"] |= {"valid_from": date.fromisoformat(day), "valid_to": date(2027, 1, 1)}
    rules["second"] |= {"peaks": [peak]}
    faults = told(with_tariffs)
    assert len(faults) == count
    for fault in faults:
        assert fault.startswith("[tariffs.second] valid_from = 2026-06-16: the first of a month")
    rules["second"]["peaks"] = []
    assert not told(with_tariffs)


def test_faults_name_their_place(with_tariffs, told):
    with_tariffs["tariffs"]["first"]["energy"][0]["price"] = "12 EUR/kW"
    with_tariffs["tariffs"]["second"]["stage"] = "draft"
    with_tariffs["tariffs"]["second"]["peaks"][0]["of"] = "week"
    found = told(with_tariffs)
    assert any("[tariffs.first.energy] price" in fault for fault in found)
    assert any("[tariffs.second] stage: a parameter of tariff" in fault for fault in found)
    assert any("[tariffs.second.peaks] of" in fault for fault in found)


@pytest.mark.parametrize(
    ("place", "value", "told_of"),
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
def test_days_and_lists_are_told_in_words_of_the_file(with_tariffs, told, place, value, told_of):
    """Proves: a year for a day, or one row for several, is told with what to write, at its key.

    Sensitivity: "Datetimes provided to dates should have zero time", "should be a valid tuple".
    """
    with_tariffs["tariffs"]["first"][place] = value
    (fault,) = told(with_tariffs)
    assert fault.startswith(told_of)
    assert "2026-01-31" in fault or "in brackets, as [{ ... }]" in fault


def test_what_is_no_table_is_told_so(with_tariffs, told):
    """Sensitivity: "should be a valid dictionary or instance of PeakPrice"."""
    with_tariffs["tariffs"]["first"]["peaks"] = ["16 EUR/kW"]
    with_tariffs["weights"] = "3 EUR/m3"
    assert told(with_tariffs) == [
        'weights = "3 EUR/m3": write a table here, { key = value, ... }',
        '[tariffs.first] peaks = "16 EUR/kW": write a table here, { key = value, ... }',
    ]


def test_a_single_text_where_several_may_stand(with_tariffs, told):
    with_tariffs["tariffs"]["first"]["periods"][0]["hours"] = "6-22"
    (fault,) = told(with_tariffs)
    assert fault == (
        '[tariffs.first.periods] hours = "6-22" stand here: write a list in brackets, as ["6-22"]'
    )
