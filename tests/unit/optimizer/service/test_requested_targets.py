"""Load targets in the snapshot: how much, until when, and whether the plan meets them."""

import numpy as np
import pytest

from optimizer.service.status_view import StatusView, next_requests
from telemetry.feed.flex_agent import is_within_target
from tests.support import moments
from tests.support.contract_sites import asked, with_target
from tests.support.hand import grid, outlook, site
from tests.support.reserve_days import product
from twin.variables import tag_dataset

PRICES = [50.0] * 5


def planned(ahead, *powers):
    """Return a schedule with given imports. [MW]"""
    plan = {"grid_import_power": ("time", list(powers)), "grid_export_power": ("time", [0.0] * 5)}
    return tag_dataset(ahead.assign(plan))


def site_with_contract(**contract):
    return site(asked(partner="gridco", **contract), connection=grid(import_limit=100.0))


@pytest.mark.parametrize(
    ("target", "powers", "words", "is_kept"),
    [
        (
            [3.0, 3.0, 100.0, 100.0, 100.0],
            [2.9, 3.0, 9.0, 9.0, 9.0],
            "at most 3.00 MW until 2026-07-01T02:00Z; planned 3.00 MW: kept",
            True,
        ),
        (
            [3.0, 4.0, 100.0, 100.0, 100.0],
            [3.5, 4.0, 9.0, 9.0, 9.0],
            "at most 3.00 MW until 2026-07-01T01:00Z; planned 3.50 MW: not kept",
            False,
        ),
        (
            [100.0, 100.0, 100.0, 2.0, 2.0],
            [9.0, 9.0, 9.0, 1.0, 2.5],
            "at most 2.00 MW from 2026-07-01T03:00Z to 2026-07-01T05:00Z; "
            "planned 2.50 MW: not kept",
            False,
        ),
    ],
)
def test_load_target_is_shown_with_the_plan(target, powers, words, is_kept):
    ahead = with_target(outlook(PRICES), target)
    (row,) = next_requests(site_with_contract(), ahead, planned(ahead, *powers))
    assert (row.partner, row.words, row.is_kept) == ("gridco", words, is_kept)


@pytest.mark.parametrize(
    ("called", "held", "words"),
    [
        (1.0, 0.5, "until 2026-07-01T05:00Z, mfrr called or recovering; planned"),
        (0.0, 0.5, "until 2026-07-01T05:00Z; planned"),  # as of a target with best effort
        (1.0, 0.0, "until 2026-07-01T05:00Z; planned"),  # nothing of it is sold
    ],
)
def test_load_target_names_its_reserve_activation(called, held, words):
    on_sale = site_with_contract(activates=("mfrr",)).model_copy(
        update={"reserves": {"mfrr": product("mfrr")}}
    )
    ahead = with_target(outlook(PRICES), [3.0] * 5).assign_coords(product=["mfrr"])
    for word, value in (("reserve_called", called), ("reserve_held", held)):
        ahead[word] = ("time", "product"), np.full((5, 1), value)
    (row,) = next_requests(on_sale, ahead, planned(ahead, *[3.0] * 5))
    assert words in row.words


@pytest.mark.parametrize(("power", "is_kept"), [(3.02, True), (3.04, False)])
def test_shown_compliance_matches_the_partner_report(power, is_kept):
    """Proves: one hundredth more still complies, as in power states."""
    ahead = with_target(outlook(PRICES), [3.0] * 5)
    (row,) = next_requests(site_with_contract(), ahead, planned(ahead, *[power] * 5))
    assert row.is_kept == is_within_target(power, 3.0) == is_kept


def test_request_is_shown_from_its_own_start():
    """Proves: the earlier turn towards a target is not shown as its beginning."""
    target = [100.0, 2.0, 2.0, 100.0, 100.0]
    ahead = with_target(outlook(PRICES), target)
    ahead["grid_import_target_requested"] = ahead["grid_import_target"].copy(
        data=np.array([[100.0], [100.0], [2.0], [100.0], [100.0]])
    )
    (row,) = next_requests(site_with_contract(), ahead, planned(ahead, *[1.0] * 5))
    assert (row.begin, row.end) == ("2026-07-01T02:00Z", "2026-07-01T03:00Z")


def test_no_request_shows_nothing():
    ahead = with_target(outlook(PRICES), [100.0] * 5)
    assert next_requests(site_with_contract(), ahead, planned(ahead, *[9.0] * 5)) == []
    assert next_requests(site(), outlook(PRICES), planned(outlook(PRICES), *[9.0] * 5)) == []


def test_remaining_non_firm_connection_is_shown():
    ahead = outlook(PRICES).assign(grid_import_limit=("time", [100.0, 40.0, 40.0, 100.0, 100.0]))
    (row,) = next_requests(
        site_with_contract(effect="curtailment"), ahead, planned(ahead, 9.0, 39.0, 38.0, 9, 9)
    )
    assert (row.partner, row.power, row.planned) == ("gridco", 40.0, 39.0)
    assert (row.begin, row.end) == ("2026-07-01T01:00Z", "2026-07-01T03:00Z")


def test_site_without_requests_shows_none():
    made, picture = moments.pilot().decide(moments.facts()), StatusView(moments.site())
    readings = moments.observed(made.estimate.state)
    picture.add_decision(made, readings, readings)
    assert picture.status().asked == []
