"""Reserve products: terms, blocks of the market day, gates and activation times."""

import numpy as np
import pytest
from pydantic import ValidationError

from twin import time_axes
from twin.feasibility.reserve_activation import (
    activation_ends,
    activation_overlap,
    max_touched_intervals,
)
from twin.markets.reserve_products import (
    ReserveProduct,
    block_edges,
    is_gate_open,
    is_product_valid,
    starts_block,
)

FCR = {
    "direction": "symmetric",
    "full_activation": "30 s",
    "duration": "15 min",
    "block": "4 h",
    "gate": "16 h",
    "shortfall_price": "100 EUR/MW/h",
    "valid_from": "2020-07-01",
    "source": "a test",
}


def product(name="fcr", **changes):
    return ReserveProduct.model_validate({"name": name} | FCR | changes)


def day(start, hours, minutes=60):
    count = round(hours * 60 / minutes)
    return time_axes.to_utc(start) + np.arange(count + 1) * np.timedelta64(minutes, "m")


def test_quantities_are_converted_to_canonical_units():
    offered = product(price="12.5 EUR/MW/h")
    assert (offered.full_activation, offered.duration, offered.price) == (0.5, 0.25, 12.5)
    assert (offered.power_up, offered.power_down) == (1.0, 1.0)


@pytest.mark.parametrize(("direction", "up", "down"), [("up", 1.34, 0.2), ("down", 0.2, 1.34)])
def test_one_sided_product_keeps_its_opposite_share(direction, up, down):
    offered = product(direction=direction, power_share=1.34, opposite_share=0.2)
    assert (offered.power_up, offered.power_down) == (up, down)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"block": "5 h"}, "block must divide 24 h"),
        ({"least_bid": "1.5 MW"}, "least_bid must be a multiple of bid_step"),
        ({"valid_to": "2019-01-01"}, "valid_to must be after valid_from"),
        ({"time_zone": "CET+1"}, "time_zone must be an IANA name"),
        ({"opposite_share": 0.2}, "remove opposite_share"),
        ({"duration": "0 h"}, "must be above 0 h"),
        ({"price": "10"}, "name the unit"),
        ({"direction": "both"}, "Input should be 'symmetric', 'up' or 'down'"),
    ],
)
def test_impossible_terms_are_refused(changes, words):
    with pytest.raises(ValidationError, match=words):
        product(**changes)


def test_blocks_follow_market_time():
    """Blocks of 4 h on a summer day of CEST, UTC + 2 h: 22:00, 02:00, ... UTC."""
    found = block_edges(
        product(), time_axes.to_utc("2026-07-01T00:00Z"), time_axes.to_utc("2026-07-01T10:00Z")
    )
    hours = ["2026-06-30T22", "2026-07-01T02", "2026-07-01T06", "2026-07-01T10"]
    assert found.tolist() == np.array(hours, "datetime64[us]").tolist()


@pytest.mark.parametrize(
    ("begin", "length", "first"), [("2026-03-28T23:00Z", 23, 3), ("2026-10-24T22:00Z", 25, 5)]
)
def test_blocks_of_days_with_clock_changes(begin, length, first):
    """23 and 25 h: the first of six blocks is an hour shorter or longer; hours are 23 and 25."""
    span = time_axes.to_utc(begin), time_axes.to_utc(begin) + np.timedelta64(length, "h")
    blocks = np.diff(block_edges(product(), *span)) / np.timedelta64(1, "h")
    assert blocks.tolist() == [first, 4, 4, 4, 4, 4]
    hourly = np.diff(block_edges(product(block="1 h"), *span)) / np.timedelta64(1, "h")
    assert hourly.tolist() == [1] * length


def test_finnish_market_day_follows_brussels_time():
    """A day from 22:00 UTC, though Helsinki's begins at 21:00."""
    found = block_edges(
        product(block="24 h"),
        time_axes.to_utc("2026-07-01T12:00Z"),
        time_axes.to_utc("2026-07-01T13:00Z"),
    )
    assert str(found[0]) == "2026-06-30T22:00:00.000000"


def test_blocks_begin_only_at_block_edges():
    """Of hours from 00:00 UTC, 02:00 and 06:00 begin blocks; a quarter past does not."""
    assert np.flatnonzero(starts_block(product(), day("2026-07-01T00:00Z", 8))).tolist() == [2, 6]
    assert not starts_block(product(), day("2026-07-01T00:15Z", 8)).any()


def test_gate_closes_for_all_blocks_of_the_day():
    """At 08:00 CEST of D - 1, 06:00 UTC, the day from 22:00 UTC on is closed, not the next."""
    early = is_gate_open(product(), day("2026-07-01T05:00Z", 48))
    assert np.flatnonzero(early).tolist() == list(range(17, 48))
    late = is_gate_open(product(), day("2026-07-01T06:00Z", 48))
    assert np.flatnonzero(late).tolist() == list(range(40, 48))


def test_interval_is_open_only_if_all_its_blocks_are():
    """Four hours across midnight of the market touch a closed day."""
    four = is_gate_open(product(block="1 h"), day("2026-07-01T06:00Z", 44, minutes=240))
    assert np.flatnonzero(four).tolist() == [10]


def test_product_is_valid_between_its_dates():
    """Sold from 2 July on, which begins at 22:00 UTC of the 1st, until the 3rd."""
    offered = product(valid_from="2026-07-02", valid_to="2026-07-03")
    hours = day("2026-07-01T00:00Z", 72)
    assert np.flatnonzero(is_product_valid(offered, hours)).tolist() == list(range(22, 46))
    assert np.flatnonzero(is_gate_open(offered, hours)).tolist() == list(range(22, 46))


@pytest.mark.parametrize(
    ("capacity", "bid"), [(0.99, 0.0), (1.0 - 1e-9, 1.0), (1.6, 1.0), (3.2, 3.0), (0.0, 0.0)]
)
def test_bids_are_whole_steps(capacity, bid):
    assert float(product().sellable_capacity(np.array(capacity))) == pytest.approx(bid)


def test_minimum_bid_of_several_steps():
    """Of 0.1 MW from 1 MW on: 0.95 is none, 1.27 is 1.2."""
    offered = product(bid_step="0.1 MW")
    assert offered.sellable_capacity(np.array([0.95, 1.27])) == pytest.approx([0.0, 1.2])


def test_activations_ending_with_an_interval():
    """Half an hour over quarters, then over hours; the first quarter has none before it."""
    hours = np.array([0.25, 0.25, 0.25, 1.0])
    assert max_touched_intervals(hours, 0.5) == 2
    assert activation_overlap(hours, 0.5, 2) == pytest.approx(
        np.array([[0.0, 0.25], [0.25, 0.25], [0.25, 0.25], [0.0, 0.5]])
    )
    assert activation_overlap(hours, 1.1, 2)[3] == pytest.approx([0.1, 1.0])


def test_activations_ending_inside_an_interval():
    """20 min and an hour after an edge: 5 min into a quarter, 5 and 20 min into the hours."""
    hours = np.array([0.25, 0.25, 1.0, 1.0])
    found = activation_ends(hours, [1.0 / 3.0, 1.0])
    assert found[:, 0] == pytest.approx(hours)
    inside = [row[1:][np.isfinite(row[1:])] for row in found]
    assert inside[0] == pytest.approx([])
    assert inside[1] == pytest.approx([1.0 / 12.0])
    assert inside[2] == pytest.approx([1.0 / 12.0, 1.0 / 3.0, 0.5, 0.75])
    assert inside[3] == pytest.approx([1.0 / 3.0])
    assert max_touched_intervals(hours, 1.0, found) == 3
    # the hour that ends 20 min into the last one has lasted 40 min of the one before
    assert activation_overlap(hours, 1.0, 3, until=found)[3, 1] == pytest.approx(
        [0.0, 2.0 / 3.0, 1.0 / 3.0]
    )
    assert activation_overlap(hours, 1.0, 3, until=found)[0, 1] == pytest.approx(
        [0.0, 0.0, 0.0]
    )  # there is none
