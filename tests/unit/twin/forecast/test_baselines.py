import numpy as np
import pandas as pd
import pytest

from twin.forecast.outlook import ExtrapolationRule, extrapolate
from twin.units import QUARTER_HOURS_PER_DAY

MONDAY = np.datetime64("2023-06-05")
DAY_BEFORE = ExtrapolationRule(averaged_days=1, deviation_window=1, deviation_decay_time=6.0)


def times(start: np.datetime64, count: int) -> np.ndarray:
    return start.astype("datetime64[us]") + np.arange(count) * np.timedelta64(15, "m")


def test_repeating_day_is_predicted_exactly():
    day = np.sin(np.arange(QUARTER_HOURS_PER_DAY))
    local = times(MONDAY, 4 * QUARTER_HOURS_PER_DAY)
    ahead = extrapolate(
        np.tile(day, 2),
        local[: 2 * QUARTER_HOURS_PER_DAY],
        rule=DAY_BEFORE,
        ahead=local[2 * QUARTER_HOURS_PER_DAY :],
    )
    np.testing.assert_allclose(ahead, np.tile(day, 2), atol=1e-12)


def test_recent_deviation_is_continued_and_fades():
    past = np.zeros(2 * QUARTER_HOURS_PER_DAY)
    past[-4:] = 1.0  # the last hour is 1 above the day before
    local = times(MONDAY, 3 * QUARTER_HOURS_PER_DAY)
    ahead = extrapolate(
        past,
        local[: 2 * QUARTER_HOURS_PER_DAY],
        rule=DAY_BEFORE,
        ahead=local[2 * QUARTER_HOURS_PER_DAY :],
    )
    # the middle of the first quarter-hour is 1/8 h ahead, that of the 25th 6 1/8 h
    assert ahead[0] == pytest.approx(np.exp(-0.125 / 6.0))
    assert ahead[24] == pytest.approx(np.exp(-6.125 / 6.0))


def test_scaled_deviation_keeps_night_at_zero():
    day = np.where(np.arange(QUARTER_HOURS_PER_DAY) < 48, 0.0, 4.0)
    past = np.concatenate([day, day[:48], [2.0] * 8])  # since noon half as bright
    local = times(MONDAY, 3 * QUARTER_HOURS_PER_DAY)
    recipe = ExtrapolationRule(
        averaged_days=1, deviation_window=2, deviation_decay_time=1e9, deviation_is_ratio=True
    )
    ahead = extrapolate(past, local[: len(past)], rule=recipe, ahead=local[len(past) :])
    np.testing.assert_allclose(ahead[: QUARTER_HOURS_PER_DAY - 56], 2.0)
    np.testing.assert_allclose(
        ahead[QUARTER_HOURS_PER_DAY - 56 : QUARTER_HOURS_PER_DAY - 56 + 48], 0.0
    )


def test_weekends_follow_weekends():
    local = times(MONDAY, 14 * QUARTER_HOURS_PER_DAY)
    is_weekend = np.arange(14) % 7 >= 5
    values = np.repeat(np.where(is_weekend, 10.0, 50.0), QUARTER_HOURS_PER_DAY)
    recipe = ExtrapolationRule(
        averaged_days=7, deviation_window=24, deviation_decay_time=24.0, matches_day_type=True
    )
    for known in (7, 11, 12, 13):
        ahead = extrapolate(
            values[: known * QUARTER_HOURS_PER_DAY],
            local[: known * QUARTER_HOURS_PER_DAY],
            rule=recipe,
            ahead=local[known * QUARTER_HOURS_PER_DAY :],
        )
        np.testing.assert_allclose(
            ahead[:QUARTER_HOURS_PER_DAY],
            values[known * QUARTER_HOURS_PER_DAY :][:QUARTER_HOURS_PER_DAY],
            rtol=1e-4,
        )


def test_first_weekend_follows_available_days():
    local = times(MONDAY, 6 * QUARTER_HOURS_PER_DAY)
    recipe = ExtrapolationRule(
        averaged_days=7, deviation_window=24, deviation_decay_time=24.0, matches_day_type=True
    )
    ahead = extrapolate(
        np.full(5 * QUARTER_HOURS_PER_DAY, 50.0),
        local[: 5 * QUARTER_HOURS_PER_DAY],
        rule=recipe,
        ahead=local[5 * QUARTER_HOURS_PER_DAY :],
    )
    np.testing.assert_allclose(ahead, 50.0)


@pytest.mark.parametrize("change", ["2023-03-26", "2023-10-29"])
def test_local_hours_match_across_a_clock_change(change):
    stamps = pd.date_range(
        pd.Timestamp(change) - pd.Timedelta("3D"), periods=6 * QUARTER_HOURS_PER_DAY, freq="15min"
    )
    local = stamps.tz_localize("UTC").tz_convert("Europe/Berlin").tz_localize(None)
    local = local.to_numpy().astype("datetime64[us]")
    values = (local - local.astype("datetime64[D]")) / np.timedelta64(1, "h")  # the wall clock
    known = 3 * QUARTER_HOURS_PER_DAY + 40
    ahead = extrapolate(values[:known], local[:known], rule=DAY_BEFORE, ahead=local[known:])
    clock = values[known:]
    is_far_from_change = (clock > 4.0) & (np.arange(len(clock)) < QUARTER_HOURS_PER_DAY)
    np.testing.assert_allclose(ahead[is_far_from_change], clock[is_far_from_change])


def test_gaps_are_skipped_and_an_empty_past_gives_nan():
    local = times(MONDAY, 4 * QUARTER_HOURS_PER_DAY)
    past = np.full(3 * QUARTER_HOURS_PER_DAY, 5.0)
    past[2 * QUARTER_HOURS_PER_DAY :] = np.nan
    recipe = ExtrapolationRule(averaged_days=3, deviation_window=1, deviation_decay_time=6.0)
    held = extrapolate(
        past,
        local[: 3 * QUARTER_HOURS_PER_DAY],
        rule=recipe,
        ahead=local[3 * QUARTER_HOURS_PER_DAY :],
    )
    np.testing.assert_allclose(held, 5.0)
    for recipe in (
        DAY_BEFORE,
        ExtrapolationRule(
            averaged_days=1, is_hourly=False, deviation_window=1, deviation_decay_time=1.0
        ),
    ):
        assert np.isnan(extrapolate(past[:0], local[:0], rule=recipe, ahead=local[:8])).all()
