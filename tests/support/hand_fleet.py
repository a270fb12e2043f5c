"""Fleets of sites solved by hand: ten racks of 1 MW each, one kind of work."""

from dataclasses import replace

from optimizer.problem.migration import MigrationRoute, add_incoming_cohorts, open_migration
from tests.support.hand import kind, outlook, problem, site

HOURS = 6
DUE_AT_4 = [("batch", [0, 0, 0, 4, 4, 4], [4] * HOURS, 10.0)]
"""4 MWh that arrive at the start and are due by the end of the fourth hour."""

NOTHING = [("batch", [0] * HOURS, [0] * HOURS, 0.0)]


def make_route(name="any", **others):
    """Return a route of one hour whose work is done within two more, in jobs of an hour."""
    given = {
        "kind": "batch", "can_send": True, "can_receive": True,
        "transfer_time": 1.0, "arrival_to_deadline": 2.0, "job_length": 1.0,
    }  # fmt: skip
    return MigrationRoute(name=name, **(given | others))


def member(name, price, *lanes, jobs=DUE_AT_4, block=1.0, where=None, **settings):
    """Return the problem of a site at one price or at a list of prices."""
    prices = [float(price)] * HOURS if isinstance(price, int | float) else price
    own = (where or site()).model_copy(update={"name": name})
    lanes = lanes or (make_route(),)
    ahead = add_incoming_cohorts(outlook(prices, jobs=jobs), own, lanes)
    usual = problem(own, ahead, **settings)
    return replace(usual, migration=open_migration(lanes, usual.interval_hours, block=block))


__all__ = ["DUE_AT_4", "HOURS", "NOTHING", "kind", "make_route", "member", "site"]
