"""Tariffs in files: what is refused, and when each rule applies."""

import numpy as np
import pytest
from pydantic import ValidationError

from tests.support.sample_tariffs import (
    BERLIN,
    GERMAN,
    MADRID,
    SIX_PERIODS,
    WHOLE_YEAR,
    quarters,
    tariff,
)
from twin.markets.tariffs import TariffCalendar, TimeWindow, span_minutes


@pytest.mark.parametrize(
    ("rules", "pattern"),
    [
        ({"valid_to": "2026-01-01"}, "valid_to must be later"),
        ({"source": " "}, "source is empty"),
        ({"status": "law"}, "in_force"),
        (
            {"energy": [{"name": "a", "price": "1 EUR/MWh", "periods": ["P1"]}]},
            "no period is named P1; use one of: none",
        ),
        ({"periods": [{"name": "P1", "months": [1]}]}, "the last period must cover"),
        ({"periods": [{"name": "P1", "months": [13]}, {"name": "P2"}]}, "from 1 to 12"),
        ({"periods": [{"name": "P1", "hours": ["22-6"]}, {"name": "P2"}]}, "not a span of hours"),
        ({"atypical": GERMAN["atypical"]}, "need the table utilisation"),
        ({**GERMAN, "peaks": [{"name": "p", "price": "1 EUR/MW"}]}, "all monthly or all yearly"),
        ({**GERMAN, "band_load": GERMAN["band_load"] | {"classes": []}}, "is empty"),
        ({**GERMAN, "atypical": GERMAN["atypical"] | {"windows": []}}, "is empty"),
        ({"peaks": [{"name": "a", "price": "1 EUR/MW", "windows": [{"hours": []}]}]}, "is empty"),
        (
            {
                "periods": [{"name": "P1"}],
                "contracted": [
                    {"period": "P1", "power": f"{power} MW", "price": "9 EUR/kW"}
                    for power in (20, 30)
                ],
            },
            "P1 has several contracted powers",
        ),
        ({"energy": [{"name": "a", "price": 3.0}]}, "write the unit"),
        (
            {"utilisation": GERMAN["utilisation"] | {"plan_for": "atypical"}},
            "plan_for is atypical, but there is no such table",
        ),
        (
            {
                "peaks": [
                    {"name": "a", "price": "1 EUR/MW"},
                    {"name": "b", "price": "1 EUR/MW", "windows": [{"hours": ["6-9"]}]},
                ]
            },
            "all peaks of a tariff must have the same windows",
        ),
    ],
)
def test_invalid_tariffs_are_refused(rules, pattern):
    with pytest.raises(ValidationError, match=pattern):
        tariff(**rules)


def test_order_of_windows_does_not_matter():
    """Proves: two charges may count in the same windows, however they are written down."""
    windows = [{"hours": ["6-9"]}, {"months": [1], "hours": ["17-20"]}]
    peaks = [
        {"name": "a", "price": "1 EUR/MW", "windows": windows},
        {"name": "b", "price": "2 EUR/MW", "windows": windows[::-1]},
    ]
    assert len(tariff(peaks=peaks).peaks) == 2


@pytest.mark.parametrize(
    ("span", "between"),
    [("9-14", (540, 840)), ("16:30-20", (990, 1200)), ("22:15-24", (1335, 1440))],
)
def test_hour_spans_of_a_day(span, between):
    assert span_minutes(span) == between


@pytest.mark.parametrize("span", ["14-9", "9-9", "9-25", "9:75-11", "9", "a-b", "-1-5"])
def test_invalid_hour_spans_are_refused(span):
    with pytest.raises(ValueError, match="not a span of hours"):
        span_minutes(span)


def test_the_six_periods_of_a_year_in_madrid():
    """Proves: hours by class in 2026, no holidays declared: 261 days from Monday to Friday.

    Of January, February, July and December 88: P1 9 h, P2 7 h; of March and November 43: P2 9, P3
    7; of June, August and September 65: P3 9, P4 7; of April, May and October 65: P4 9, P5 7.
    P1 792; P2 616 + 387 = 1003; P3 301 + 585 = 886; P4 455 + 585 = 1040; P5 455; P6 the rest: 4584.
    """
    rules = tariff(periods=SIX_PERIODS)
    starts = quarters("2025-12-31T23:00", "2026-12-31T23:00")
    period = TariffCalendar(starts, MADRID).time_class(rules.periods)
    names = [one.name for one in rules.periods]
    hours = {name: 0.0 for name in sorted(set(names))}
    for number, name in enumerate(names):
        hours[name] += 0.25 * float((period == number).sum())
    assert hours == {"P1": 792, "P2": 1003, "P3": 886, "P4": 1040, "P5": 455, "P6": 4584}


def test_windows_follow_local_time():
    """Proves: 16:30 in Berlin is 15:30 UTC in winter, 14:30 in summer; weekends are other days."""
    window = TimeWindow.model_validate({"hours": ["16:30-16:45"], "days": "working"})
    found = WHOLE_YEAR[TariffCalendar(WHOLE_YEAR, BERLIN).in_window(window)]
    assert len(found) == 261
    assert found[0] == np.datetime64("2026-01-01T15:30")
    assert np.datetime64("2026-07-01T14:30") in found
    assert np.datetime64("2026-07-04T14:30") not in found  # a Saturday
    free = TimeWindow.model_validate({"days": "other"})
    assert (
        TariffCalendar(WHOLE_YEAR, BERLIN).in_window(free).sum() == 96 * 104 + 0
    )  # both changes on Sundays
