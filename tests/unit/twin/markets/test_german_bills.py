"""German bills by hand: published prices, windows and band load; the cheapest applies."""

from decimal import Decimal

import numpy as np
import pytest

from tests.support.sample_tariffs import BERLIN, GERMAN, WHOLE_YEAR, euros, quarters, tariff
from twin.markets.bills import compute_bill

ONLY_BAND = {name: rule for name, rule in GERMAN.items() if name != "atypical"}


def even(power, *peaks):
    """Return a year of an even load, with other quarter-hours: (number, power). [MW]"""
    load = np.full(len(WHOLE_YEAR), power)
    for number, other in peaks:
        load[number] = other
    return load


def test_german_bill_of_a_year_of_band_load():
    """Proves: 9 MW all year and one quarter-hour of 10 MW, in Berlin 2026.

    Energy 9 x 8760 + 0.25 = 78,840.25 MWh; hours of use 78,840.25 / 10 = 7,884: 15 % is paid.
    Power 10 x 100,000 = 1,000,000.00; energy 78,840.25 x 5 = 394,201.25; together 1,394,201.25.
    Discount 0.85 of it, 1,185,071.0625, rounded half up. Levies 78,840.25 x 20.5 = 1,616,225.125,
    half up .13. Metering 1,200. Sum 209,130.19 + 1,616,225.13 + 1,200.00 = 1,826,555.32 EUR.
    """
    found = compute_bill(tariff(**GERMAN), WHOLE_YEAR, even(9.0, (20_000, 10.0)), time_zone=BERLIN)
    assert found.charge_option == "band_load"
    assert found.utilisation_hours == pytest.approx(7884.025)
    assert euros(found) == {
        "network power": Decimal("1000000.00"),
        "network energy": Decimal("394201.25"),
        "band load of 7500 h: 15% is paid": Decimal("-1185071.06"),
        "levies": Decimal("1616225.13"),
        "metering": Decimal("1200.00"),
    }
    assert found.total == Decimal("1826555.32")


def test_shares_are_shown_as_declared():
    """Proves: where 12.5 % is paid, and a shift of 2.5 % is asked, the bill says so.

    Sensitivity: 12% and 2%.
    """
    classes = [{"hours": "7000 h", "share": 0.125}]
    rules = GERMAN | {
        "band_load": GERMAN["band_load"] | {"classes": classes},
        "atypical": GERMAN["atypical"] | {"least_shift": "2.5 %"},
    }
    found = compute_bill(tariff(**rules), WHOLE_YEAR, even(9.0), time_zone=BERLIN)
    assert "band load of 7000 h: 12.5% is paid" in euros(found)
    (atypical,) = [way for way in found.charge_options if way.name == "atypical"]
    assert "needs 2.5% and 0.1 MW" in atypical.note


def test_hours_of_use_have_no_tolerance():
    """Proves: 7,000 h at a peak of 14 MW are 98,000 MWh, and a kWh less is not enough.

    In quarter-hours of whole kW 4 x 98,000,000: one of 14,000, 4,707 of 11,188, 30,332 of 11,187.
    Sensitivity: the class lost at 6,999.999999999999 h where floats are summed and divided.
    """
    base = np.full(len(WHOLE_YEAR), 11_187)
    base[:4_707] += 1
    base[-1] = 14_000
    for less, branch, note in (
        (0, "band_load", "7,000 h of use"),
        (4, "published", "6,999 h of use"),
    ):
        base[-2] -= less
        found = compute_bill(tariff(**ONLY_BAND), WHOLE_YEAR, base / 1000.0, time_zone=BERLIN)
        assert found.charge_option == branch
        assert found.charge_options
        assert all(way.note.startswith(note) for way in found.charge_options)


@pytest.mark.parametrize("peak", [1.0, 1.15, 2.3, 9.99])
def test_peak_reduction_of_a_tenth_counts(peak):
    """Proves: 10 % to the letter, in whole kW, opens atypical use; a kW more in the window not."""
    day = quarters("2026-01-12T00:00", "2026-01-13T00:00")
    load = np.full(len(day), 0.5)
    load[0] = peak
    rules = GERMAN | {"atypical": GERMAN["atypical"] | {"least_power": "0.1 MW"}}
    for more, is_open in ((0, True), (1, False)):
        load[66] = (round(900 * peak) + more) / 1000.0  # 17:30 in Berlin
        ways = compute_bill(tariff(**rules), day, load, time_zone=BERLIN).charge_options
        assert next(way for way in ways if way.name == "atypical").is_eligible == is_open


def test_bill_names_the_sources_of_its_rules():
    rules = GERMAN | {"band_load": GERMAN["band_load"] | {"status": "draft", "source": "a bill"}}
    found = compute_bill(tariff(**rules), WHOLE_YEAR[:96], np.ones(96), time_zone=BERLIN)
    assert found.notes[:3] == (
        "sample: assumed, assumed",
        "atypical: assumed, assumed",
        "band_load: draft, a bill",
    )
    assert found.notes[3].startswith("part of a year")


def test_cheaper_of_both_discounts_is_applied():
    """Proves: the same year by its windows: 9 MW there, 10 % below: 900,000 + 394,201.25.

    Band load, at 209,130.19, is cheaper. Without it the windows are.
    """
    load = even(9.0, (20_000, 10.0))
    found = compute_bill(tariff(**GERMAN), WHOLE_YEAR, load, time_zone=BERLIN)
    money = {way.name: (way.money, way.is_eligible) for way in found.charge_options}
    assert money == {
        "published": (Decimal("1394201.25"), True),
        "atypical": (Decimal("1294201.25"), True),
        "band_load": (Decimal("209130.19"), True),
    }
    rules = {name: rule for name, rule in GERMAN.items() if name != "band_load"}
    found = compute_bill(tariff(**rules), WHOLE_YEAR, load, time_zone=BERLIN)
    assert found.charge_option == "atypical"
    assert euros(found)["network power"] == Decimal("900000.00")


def test_peak_within_a_window_excludes_atypical_use():
    """Proves: 10 MW at 17:00 on Monday, 5 January 2026, is in a window: nothing is shifted."""
    number = int(np.flatnonzero(np.datetime64("2026-01-05T16:00") == WHOLE_YEAR)[0])
    found = compute_bill(tariff(**GERMAN), WHOLE_YEAR, even(9.0, (number, 10.0)), time_zone=BERLIN)
    assert {way.name: way.is_eligible for way in found.charge_options}["atypical"] is False
    rest = compute_bill(
        tariff(**GERMAN), WHOLE_YEAR, even(9.0, (number - 3, 10.0)), time_zone=BERLIN
    )
    assert {way.name: way.is_eligible for way in rest.charge_options}["atypical"] is True  # 16:15


def test_span_without_window_leaves_atypical_use_undecided():
    """Proves: of a summer day nobody can say that its peak in winter evenings is low."""
    day = quarters("2026-07-01T00:00", "2026-07-02T00:00")
    found = compute_bill(tariff(**GERMAN), day, np.linspace(1.0, 2.0, 96), time_zone=BERLIN)
    (atypical,) = [way for way in found.charge_options if way.name == "atypical"]
    assert not atypical.is_eligible
    assert "cannot be applied" in atypical.note
    assert found.charge_option == "published"


def test_atypical_use_pays_at_least_a_fifth():
    """Proves: nothing is taken in the windows, 10 MW else; yet a fifth of the charge is paid.

    The windows are 3 h on 22 + 20 + 23 working days of January, February and December 2026, 195 h
    (no holidays are declared). Energy 10 x (8760 - 195) = 85,650 MWh. Published
    1,000,000 + 428,250 = 1,428,250; a fifth is 285,650.00. By the windows 0 + 428,250 stands above.
    With energy at nothing, a fifth of 1,000,000 is what is paid.
    """
    load = even(10.0)
    local = WHOLE_YEAR + np.timedelta64(1, "h")  # winter time in all of these months
    minute = (local - local.astype("datetime64[D]")) / np.timedelta64(1, "m")
    month = local.astype("datetime64[M]").astype(int) % 12 + 1
    day = (local.astype("datetime64[D]").astype(int) + 3) % 7
    load[np.isin(month, [1, 2, 12]) & (day < 5) & (minute >= 990) & (minute < 1170)] = 0.0
    found = compute_bill(tariff(**GERMAN), WHOLE_YEAR, load, time_zone=BERLIN)
    assert found.energy == pytest.approx(85_650.0)
    ways = {way.name: way.money for way in found.charge_options}
    assert ways["atypical"] == Decimal("428250.00")
    free = GERMAN | {"utilisation": GERMAN["utilisation"] | {"energy_price": "0 EUR/MWh"}}
    found = compute_bill(tariff(**free), WHOLE_YEAR, load, time_zone=BERLIN)
    assert {way.name: way.money for way in found.charge_options}["atypical"] == Decimal("200000.00")


def test_few_hours_of_use_have_separate_prices():
    """Proves: 2 MW all year, one quarter-hour of 10: 17,522 MWh / 10 MW = 1,752 h < 2,500 h.

    10 x 20,000 = 200,000.00; 17,522 x 40 = 700,880.00.
    """
    found = compute_bill(tariff(**GERMAN), WHOLE_YEAR, even(2.0, (9, 10.0)), time_zone=BERLIN)
    published = found.charge_options[0]
    assert [line.money for line in published.lines] == [Decimal("200000.00"), Decimal("700880.00")]
    assert not found.charge_options[2].is_eligible


def test_class_is_reached_exactly_at_its_hours():
    """Proves: 8,000 h exactly are 8,000 h; a quarter-hour's kWh less are 15 %, not 10 %."""
    load = even(0.0)
    load[:32_000] = 5.0
    for power, price in ((5.0, "-0.9"), (4.996, "-0.85")):
        load[0] = power
        found = compute_bill(tariff(**GERMAN), WHOLE_YEAR, load, time_zone=BERLIN)
        assert found.lines[2].price == Decimal(price)
