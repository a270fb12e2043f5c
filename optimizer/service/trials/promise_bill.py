"""Settle promises about sums of flows: what a run really took, against what was promised."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

import numpy as np
import xarray as xr

from optimizer.question.positions import positions
from optimizer.question.promised import promises
from twin.physics import FloatArray
from twin.relations import HARD_OBLIGATION_PENALTY, Obligation
from twin.site import Site
from twin.time_axes import METERING_PERIOD_MIN

MINUTES: Final = 60.0
"""Minutes in an hour. [1]"""


def promise_accounts(
    site: Site, record: xr.Dataset, series: xr.Dataset, *, net: FloatArray
) -> dict[str, float]:
    """Return what deviations from promises cost.

    Parameters
    ----------
    site
        The site with its contracts.
    record
        What the plant did, in minutes.
    series
        Prices, carbon and what was promised, on quarter-hours that cover the record.
    net
        Mean import less export in the quarter-hours of the meter, ``(time,)``. [MW]

    Returns
    -------
    dict
        Account -> money; only of promises that there are. ``carbon`` is that of hours which no
        contract covers, in kg. [EUR; kg]

    Notes
    -----
    The contracts settle as they plan: by the same terms, at true prices. Energy costs its
    day-ahead price elsewhere in the bill, so a position pays here by how much its imbalance is
    worse. A budget of a year is settled on the share that the run makes of the year.
    """
    truth = series.sel(time=record["time"].to_numpy()[::METERING_PERIOD_MIN])
    if "position_held" not in truth:  # a record, which does not say so
        held = positions(site, series, truth["time"].to_numpy()[0], axes=truth, foresight=True)
        truth = truth.assign(held.data_vars)
    water = record["water_use"].to_numpy().reshape(-1, METERING_PERIOD_MIN).sum(axis=1) / MINUTES
    paid: dict[str, float] = defaultdict(float)
    for promise in promises(site, truth):
        paid[promise.account] += _settled(promise, truth, net, water=water)
    return dict(paid)


def _settled(
    promise: Obligation, truth: xr.Dataset, net: FloatArray, *, water: FloatArray
) -> float:
    terms = promise.terms(truth)
    hours = truth["duration"].to_numpy()
    flows: Mapping[str, FloatArray] = {
        "net_import": hours * net,
        "import": hours * np.maximum(net, 0.0),
        "carbon": hours * np.maximum(net, 0.0) * truth["carbon_intensity"].to_numpy(),
        "water": water,
    }
    flow, count = flows[promise.quantity], len(terms.target)
    window = np.minimum(terms.window, count - 1).astype(int)
    sums = np.bincount(window, weights=flow, minlength=count)
    off = np.where(terms.is_held, sums - np.where(terms.is_held, terms.target, 0.0), 0.0)
    up_price = np.minimum(terms.up_price, HARD_OBLIGATION_PENALTY[promise.quantity])
    above, below = np.maximum(off, 0.0), np.maximum(-off, 0.0)
    return float(up_price @ above + terms.down_price @ below)
