"""What the connection cost a run: energy at the exchange, network fees, peaks and excess power."""

from typing import Final

import numpy as np

from twin.markets.bill_lines import MeteredImport, excess_charges
from twin.markets.demand_charges import BillingRules
from twin.markets.tariffs import InstantArray, valid_tariffs
from twin.physics import FloatArray
from twin.site import Site
from twin.time_axes import HOUR, QUARTER_HOUR

HOURS: Final = float(QUARTER_HOUR / HOUR)


def network_accounts(
    site: Site, starts: InstantArray, net: FloatArray, *, peak_power: float
) -> dict[str, float]:
    """Return what decisions add to the bill of the network. [EUR]

    Parameters
    ----------
    site
        The site.
    starts
        Starts of the run's quarter-hours, UTC. [datetime64]
    net
        Mean import less export in each. [MW]
    peak_power
        Greatest import of the first billing period before the run, of what counts in it. [MW]

    Returns
    -------
    dict
        ``network`` and ``peak``, and ``excess`` where powers are contracted. Standing charges and
        contracted powers themselves are paid whatever is done: ``gigatwin tariff`` tells them.

    Notes
    -----
    Of the first billing period's peak only what exceeds that before is paid, and of any what
    exceeds the peak that comes anyway. A period of which the run saw a part pays its whole peak:
    the run made it. The prices are those that the tariff declares to plan for, without rounding.
    """
    taken, fed = np.maximum(net, 0.0) * HOURS, np.maximum(-net, 0.0) * HOURS
    fees = taken @ site.import_fees(starts) + fed.sum() * site.grid.export_fee
    found = {"network": float(fees), "peak": _peaks(site, starts, net, before=peak_power)}
    if site.billing.classes:
        found["excess"] = _excess(site.billing, starts, net)
    return found


def _peaks(site: Site, starts: InstantArray, net: FloatArray, *, before: float) -> float:
    """Return what the peaks of all billing periods cost. [EUR]"""
    billing = site.billing
    first = np.unique(billing.numbers(starts), return_index=True)[1]
    counted = np.where(billing.counts(starts), np.maximum(net, 0.0), 0.0)
    free = billing.expected_peaks(starts[first])
    free[0] = max(free[0], before)
    peaks = np.maximum(np.maximum.reduceat(counted, first) - free, 0.0)
    prices = billing.peak_prices(starts[first]) if site.tariffs else site.grid.peak_price
    return float((prices * peaks).sum())


def _excess(billing: BillingRules, starts: InstantArray, net: FloatArray) -> float:
    """Return what power beyond the contracted ones costs, by month and class. [EUR]"""
    total = 0.0
    for tariff, here in valid_tariffs(billing.tariffs, starts, billing.time_zone, goes_on=True):
        metered = MeteredImport(tariff, starts[here], net[here], time_zone=billing.time_zone)
        total += sum(price * power for _, power, price in excess_charges(metered))
    return total
