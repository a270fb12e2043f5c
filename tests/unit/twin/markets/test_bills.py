"""Sample bills, worked out by hand to the cent."""

from decimal import Decimal

import numpy as np
import pytest

from tests.support.sample_tariffs import (
    BERLIN,
    EVENINGS,
    MADRID,
    SPANISH,
    STOCKHOLM,
    euros,
    quarters,
    tariff,
)
from twin.errors import SeriesError
from twin.markets.bills import bills_by_year, compute_bill
from twin.markets.tariffs import month_numbers

JANUARY = quarters("2025-12-31T23:00", "2026-01-31T23:00")


def test_spanish_bill_of_january():
    """Proves: 20 MW all January 2026 in Madrid, over 18 MW contracted in P1.

    22 days from Monday to Friday less the 1st and the 6th are 20 working days: P1 9 h, P2 7 h, P6
    8 h; 11 other days of P6: 180, 140 and 424 h, 3,600, 2,800 and 8,480 MWh.
    Energy 108,442.80 + 57,400.00 + 10,769.60. Contracted powers for 31/365 of a year: 360,000,
    300,000, 100,000, 80,000, 60,000 and 25,000 give 30,575.34, 25,479.45, 8,493.15, 6,794.52,
    5,095.89 and 2,123.29. Excess: 2 MW in 720 quarter-hours, 2 sqrt(720) = 53.666 MW at 1,500:
    80,499.00. Sum 335,673.04; tax 5.11269632 % of it 17,161.94; total 352,834.98 EUR.
    """
    found = compute_bill(tariff(**SPANISH), JANUARY, np.full(2976, 20.0), time_zone=MADRID)
    assert euros(found) == {
        "energy P1": Decimal("108442.80"),
        "energy P2": Decimal("57400.00"),
        "energy P6": Decimal("10769.60"),
        "contracted power P1": Decimal("30575.34"),
        "contracted power P2": Decimal("25479.45"),
        "contracted power P3": Decimal("8493.15"),
        "contracted power P4": Decimal("6794.52"),
        "contracted power P5": Decimal("5095.89"),
        "contracted power P6": Decimal("2123.29"),
        "excess power P1 2026-01": Decimal("80499.00"),
        "electricity tax": Decimal("17161.94"),
    }
    assert found.total == Decimal("352834.98")
    assert found.charge_options == ()


@pytest.mark.parametrize(
    ("begin", "end", "days"),
    [
        ("2026-02-28T23:00", "2026-03-31T22:00", 31),  # an hour is missing
        ("2026-09-30T22:00", "2026-10-31T23:00", 31),  # an hour comes twice
        ("2026-03-28T23:00", "2026-03-29T22:00", 1),
        ("2025-12-31T23:00", "2026-12-31T23:00", 365),
    ],
)
def test_day_with_clock_change_is_billed_as_one_day(begin, end, days):
    """Proves: 1 MW at 365 EUR of a year for so many days. Sensitivity: March was 743 h of 8,760."""
    rules = {
        "year_by": "days",
        "periods": [{"name": "all"}],
        "contracted": [{"period": "all", "power": "1 MW", "price": "365000 EUR/MW"}],
    }
    starts = quarters(begin, end)
    found = compute_bill(tariff(**rules), starts, np.zeros(len(starts)), time_zone=MADRID)
    assert found.total == 1000 * days


def test_nordic_bill_of_three_monthly_peaks():
    """Proves: peaks of 3, 5 and 4 MW in three months at 1,300 EUR/MW; 1/4 of a fee of 999 EUR.

    2 MW but for these quarter-hours: 90 days less an hour of summer time, 2,159 h: 4,318 MWh and
    (1 + 3 + 2) / 4 = 1.5 MWh more. 4,319.5 x 7.77 = 33,562.515, half up .52.
    """
    starts = quarters("2025-12-31T23:00", "2026-03-31T22:00")
    load = np.full(len(starts), 2.0)
    for moment, power in (("01-31T22:45", 3.0), ("01-31T23:00", 5.0), ("03-31T21:45", 4.0)):
        load[starts == np.datetime64(f"2026-{moment}")] = power
    rules = {
        "energy": [{"name": "transfer", "price": "7.77 EUR/MWh"}],
        "peaks": [{"name": "power", "price": "1300 EUR/MW"}],
        "standing": [{"name": "fee", "price": "999 EUR"}],
    }
    found = compute_bill(tariff(**rules), starts, load, time_zone=STOCKHOLM)
    assert euros(found) == {
        "transfer": Decimal("33562.52"),
        "power 2026-01": Decimal("3900.00"),
        "power 2026-02": Decimal("6500.00"),
        "power 2026-03": Decimal("5200.00"),
        "fee": Decimal("249.75"),
    }
    assert found.total == Decimal("49412.27")


def test_partial_month_with_whole_peak_charge_is_noted():
    """June of UTC is a June of Berlin without its first two hours, and two hours of July."""
    rules = {"peaks": [{"name": "power", "price": "1 EUR/kW"}]}
    june = quarters("2026-06-01", "2026-07-01")
    found = compute_bill(tariff(**rules), june, np.ones(len(june)), time_zone=BERLIN)
    assert sum(line.money for line in found.lines) == Decimal(2000)
    assert [note for note in found.notes if "in part" in note] == [
        "2026-06 is billed in part (months follow Europe/Berlin), but its peak in full",
        "2026-07 is billed in part (months follow Europe/Berlin), but its peak in full",
    ]
    local = quarters("2026-05-31T22:00", "2026-06-30T22:00")
    for rule, starts in ((rules, local), ({}, june)):
        found = compute_bill(tariff(**rule), starts, np.ones(len(starts)), time_zone=BERLIN)
        assert not any("in part" in note for note in found.notes)


def test_only_peaks_within_windows_count():
    """Proves: 3 MW at 17:00 on a working Monday, 9 MW on the Sunday before: 3,900 EUR."""
    starts = quarters("2026-01-03T23:00", "2026-01-06T23:00")
    load = np.full(len(starts), 2.0)
    load[starts == np.datetime64("2026-01-04T16:00")] = 9.0
    load[starts == np.datetime64("2026-01-05T16:00")] = 3.0
    rules = {"peaks": [{"name": "power", "price": "1300 EUR/MW", "windows": [EVENINGS]}]}
    assert compute_bill(tariff(**rules), starts, load, time_zone=BERLIN).total == Decimal("3900.00")


def test_subscribed_power_with_its_largest_excess():
    """Proves: 8 MW subscribed at 24,000 a year, 2,000 a month; 9.5 and 9 MW cost 1.5 x 5,000."""
    starts = quarters("2026-05-31T22:00", "2026-06-30T22:00")
    load = np.full(len(starts), 8.0)
    load[[7, 900]] = 9.5, 9.0
    rules = {
        "excess": "greatest",
        "periods": [{"name": "all"}],
        "contracted": [
            {
                "period": "all",
                "power": "8 MW",
                "price": "24000 EUR/MW",
                "excess_price": "5000 EUR/MW",
            }
        ],
    }
    found = compute_bill(tariff(**rules), starts, load, time_zone=STOCKHOLM)
    assert [line.money for line in found.lines] == [Decimal("16000.00"), Decimal("7500.00")]


@pytest.mark.parametrize(("rounding", "total"), [("line", "0.02"), ("total", "0.01")])
def test_bill_is_rounded_by_its_own_rule(rounding, total):
    """Proves: two lines of 0.005 EUR are 2 cents if each is rounded, and 1 cent if the sum is."""
    starts = quarters("2026-06-01T00:00", "2026-06-01T00:15")
    energy = [{"name": name, "price": "0.02 EUR/MWh"} for name in ("a", "b")]
    found = compute_bill(
        tariff(energy=energy, rounding=rounding), starts, np.array([1.0]), time_zone=BERLIN
    )
    assert found.total == Decimal(total)


def test_class_of_several_rows_is_billed_completely():
    """Proves: 1 MW all of 2026 takes each class's hours in MWh, also those of other seasons.

    The hours are those of tests/unit/twin/markets/test_declaration.py; there are no holidays here.
    """
    names = ("P1", "P2", "P3", "P4", "P5", "P6")
    energy = [{"name": name, "price": "1 EUR/MWh", "periods": [name]} for name in names]
    starts = quarters("2025-12-31T23:00", "2026-12-31T23:00")
    rules = tariff(periods=SPANISH["periods"], energy=energy)
    found = compute_bill(rules, starts, np.ones(len(starts)), time_zone=MADRID)
    assert [int(line.money) for line in found.lines] == [792, 1003, 886, 1040, 455, 4584]
    merged = tariff(
        periods=SPANISH["periods"],
        energy=[{"name": "all", "price": "1 EUR/MWh", "periods": list(names)}],
    )
    assert compute_bill(merged, starts, np.ones(len(starts)), time_zone=MADRID).total == Decimal(
        "8760.00"
    )


def test_export_is_not_deducted_from_import():
    starts = quarters("2026-06-01T00:00", "2026-06-01T00:30")
    rules = {"energy": [{"name": "a", "price": "10 EUR/MWh"}]}
    found = compute_bill(tariff(**rules), starts, np.array([4.0, -4.0]), time_zone=BERLIN)
    assert found.total == Decimal("10.00")


def test_months_add_up_to_the_year():
    """Proves: charges by the month and by share of a year are the same in twelve bills or in one.

    Rounding apart, which may differ by half a cent a line.
    """
    rules = SPANISH | {"peaks": [{"name": "power", "price": "1300 EUR/MW"}], "taxes": []}
    starts = quarters("2025-12-31T23:00", "2026-12-31T23:00")
    load = np.random.default_rng(4).uniform(10.0, 24.0, len(starts))
    whole = compute_bill(tariff(**rules), starts, load, time_zone=MADRID)
    first = np.flatnonzero(np.diff(month_numbers(starts, MADRID))) + 1
    parts = np.split(np.arange(len(starts)), first)
    money = [
        compute_bill(tariff(**rules), starts[p], load[p], time_zone=MADRID).total for p in parts
    ]
    assert float(sum(money)) == pytest.approx(float(whole.total), abs=1.5)


@pytest.mark.parametrize(
    ("spoil", "pattern"),
    [
        (lambda s, p: (np.delete(s, 5), np.delete(p, 5)), "no quarter-hour"),
        (lambda s, p: (s, np.where(np.arange(len(p)) == 3, np.nan, p)), "not a number"),
        (lambda s, p: (s, 1e30 * p), r"= 1e\+30 MW: at most 1,000,000 MW"),
        (lambda s, p: (s[:0], p[:0]), "0 quarter-hours"),
        (lambda s, p: (s[::-1], p), "no quarter-hour"),
        (lambda s, p: (s, p[:-1]), "quarter-hours"),
        (
            lambda s, p: (s + np.timedelta64(14, "m"), p),
            "T23:14Z: starts at minute 00",
        ),
    ],
)
def test_incomplete_quarter_hours_are_refused(spoil, pattern):
    starts, power = spoil(JANUARY[:96], np.ones(96))
    with pytest.raises(SeriesError, match=pattern):
        compute_bill(tariff(), starts, power, time_zone=MADRID)


def test_site_without_tariffs_has_no_bill():
    with pytest.raises(SeriesError, match="at least one tariff"):
        bills_by_year({}, JANUARY, np.ones(len(JANUARY)), time_zone=MADRID)


@pytest.mark.parametrize(
    ("rule", "total"),
    [
        ({"contracted": [{"period": "P", "power": "18 MW", "price": "333.33 EUR/MW"}]}, "500.00"),
        ({"standing": [{"name": "fee", "price": "1200.06 EUR"}]}, "100.01"),
    ],
)
def test_half_cents_are_rounded_up(rule, total):
    """Proves: 499.995 and 100.005 EUR. Sensitivity: a cent less where a twelfth was cut short."""
    july = quarters("2025-07-01T00:00", "2025-08-01T00:00")
    made = tariff(periods=[{"name": "P"}], **rule)
    assert compute_bill(made, july, np.zeros(len(july)), time_zone="UTC").total == Decimal(total)
