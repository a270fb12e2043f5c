"""Reserves of a record over a horizon: nothing before its gate has closed."""

import numpy as np
import pytest

from optimizer.inputs.series_files import SeriesFiles, read_market_series
from optimizer.planner.decision import Decision
from optimizer.planner.planner import decide
from optimizer.problem.checks import find_reserve_issues as capacity_faults
from optimizer.problem.planning_outlook import SoldReserves, reserve_outlook
from optimizer.problem.problem import build_problem_from_record
from tests.support import reserve_days, small_days
from tests.support.hand import battery
from tests.support.reserve_sites import held_by, product
from twin import time_axes
from twin.errors import SeriesError
from twin.forecast.series_record import series_history

NOW = time_axes.to_utc("2026-06-16T00:00Z")
MIDNIGHT = time_axes.to_utc("2026-06-16T22:00Z")
"""The market's: the gate of the day after closes then."""

DAY = time_axes.regular_axes(NOW, 192)


def files(folder, text):
    path = folder / "reserves.csv"
    path.write_text(text)
    return SeriesFiles(prices=path, weather=path, reserves=path)


def series(folder, held, paid):
    """Return a record with four-hour blocks of FCR from the market's day before on."""
    begin = time_axes.to_utc("2026-06-14T22:00Z")
    lines = "".join(
        f"{begin + np.timedelta64(4 * i, 'h')}Z,{mw},{eur}\n"
        for i, (mw, eur) in enumerate(zip(held, paid, strict=True))
    )
    found = read_market_series(
        reserve_days.site(), files(folder, "time_utc,fcr_mw,fcr_eur_mw_h\n" + lines)
    )
    own = small_days.setting().inputs.series
    day = own[["time", "duration", "instant"]]
    parts = own.drop_vars(["renewable_available_power", "local_time"]).assign_coords(day.coords)
    return series_history(reserve_days.site(), parts, *found)


def test_sold_reserve_counts_from_gate_closure(tmp_path):
    whole = series(tmp_path, [0.1] * 6 + [0.2] * 6 + [0.3] * 6, [*range(6), *range(10, 28)][:18])
    found = reserve_outlook(reserve_days.site(), whole, NOW, axes=DAY)
    night = DAY["time"].to_numpy() >= MIDNIGHT
    held = found["reserve_held"].sel(product="fcr").to_numpy()
    assert held[~night] == pytest.approx(0.2)
    assert not held[night].any()
    paid = found["reserve_price"].sel(product="fcr").to_numpy()
    assert paid[night][:96] == pytest.approx(np.repeat(np.arange(10.0, 16.0), 16))
    assert found["reserve_price"].sel(product="mfrr").to_numpy() == pytest.approx(9.0)
    later = reserve_outlook(
        reserve_days.site(), whole, MIDNIGHT, axes=time_axes.regular_axes(MIDNIGHT, 96)
    )
    assert later["reserve_held"].sel(product="fcr").to_numpy() == pytest.approx(0.3)
    known = reserve_outlook(reserve_days.site(), whole, NOW, axes=DAY, foresight=True)
    assert known["reserve_held"].sel(product="fcr").to_numpy()[night][:96] == pytest.approx(0.3)


def test_interval_over_several_blocks_holds_the_largest(tmp_path):
    whole = series(tmp_path, [0.1] * 6 + [0.1, 0.3, 0.1, 0.1, 0.1, 0.1], [20.0] * 12)
    wide = time_axes.interval_axes(NOW + np.array([0, 8, 16]) * time_axes.HOUR)
    found = reserve_outlook(reserve_days.site(), whole, NOW, axes=wide)
    assert found["reserve_held"].sel(product="fcr").to_numpy() == pytest.approx([0.3, 0.1])


def test_change_inside_a_block_is_accepted():
    """Proves: of 1, 1, 2 MW in blocks of 4 h, 6 h hold 1, then 2: a change inside a block."""
    where, midnight = held_by(battery(), product()), time_axes.to_utc("2026-07-01")
    offered = time_axes.interval_axes(midnight + np.arange(-1, 13) * time_axes.HOUR).assign_coords(
        product=["fcr"]
    )
    capacity = np.append(0.0, np.repeat([1.0, 1.0, 2.0], 4))
    offered["reserve_capacity"] = ("time", "product"), capacity[:, None]
    book = SoldReserves(where)
    book.record_sales_before(offered, midnight)
    wide = time_axes.interval_axes(midnight + np.array([0, 6, 12]) * time_axes.HOUR)
    outlook = wide.merge(book.as_outlook(wide))
    assert outlook["reserve_held"].to_numpy().ravel() == pytest.approx([1.0, 2.0])
    assert not [*capacity_faults(where, outlook)]


def test_plan_holds_reserves_sold_in_a_file(tmp_path):
    """As the service asks: its record holds the file."""
    whole = series(tmp_path, [0.3] * 12, [20.0] * 12)
    here = small_days.setting()
    problem = build_problem_from_record(
        reserve_days.site(),
        whole,
        here.initial_state,
        queue=small_days.queue(),
        past=here.workload.past(here.inputs.start),
    )
    found = decide(problem)
    assert isinstance(found, Decision)
    today = found.schedule["time"].to_numpy() < MIDNIGHT
    held = found.schedule["reserve_capacity"].sel(product="fcr").to_numpy()
    assert held[today] == pytest.approx(0.3, abs=1e-6)
    assert (found.schedule["reserve_price"].sel(product="fcr").to_numpy()[today] == 20.0).all()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "time_utc,ffr_mw\n2026-07-01T00:00Z,1\n2026-07-01T01:00Z,1\n",
            "ffr.*a reserve of the site.*fcr",
        ),
        (
            "time_utc,fcr_mw\n2026-07-01T00:00Z,1\n2026-07-01T01:00Z,2\n",
            "reserves.csv, reserve_held, fcr, 2026-07-01T01:00.*one value in the block",
        ),
        ("time_utc,fcr_mw\n2020-07-01T00:00Z,1\n2020-07-01T01:00Z,1\n", "no capacity before"),
    ],
)
def test_invalid_reserve_file_is_refused(tmp_path, text, expected):
    with pytest.raises(SeriesError, match=expected):
        read_market_series(reserve_days.site(), files(tmp_path, text))


def test_no_reserves_without_record_or_product():
    here = small_days.setting()
    assert not reserve_outlook(reserve_days.site(), here.inputs.series, NOW, axes=DAY).data_vars
    assert not reserve_outlook(here.site, here.inputs.series, NOW, axes=DAY).data_vars
