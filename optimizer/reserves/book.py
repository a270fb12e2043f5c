"""The book of reserves: what was offered when a gate closed is sold, block by block.

A site is taken to be small beside its market: all that it offers is taken, at the market's price.
Where bids are made by people, what they sold comes as ``reserve_held`` of an outlook instead.
"""

from collections import defaultdict
from itertools import pairwise

import numpy as np
import xarray as xr

from optimizer.reserves.capacity import LEAST
from twin import time_axes, variables
from twin.markets.reserve_products import ReserveProduct, block_edges, is_gate_open
from twin.physics import FloatArray
from twin.site import Site


class Book:
    """What has been sold so far.

    Parameters
    ----------
    site
        The site with its products.
    """

    def __init__(self, site: Site) -> None:
        self._products = dict(site.reserves)
        self._sold: dict[str, dict[np.datetime64, float]] = defaultdict(dict)

    def held(self, horizon: xr.Dataset) -> xr.Dataset:
        """Return what is sold over a horizon; of a site without products nothing.

        Parameters
        ----------
        horizon
            Axes ``time`` and ``instant``.

        Returns
        -------
        xarray.Dataset
            ``reserve_held`` on ``time`` and ``product``; of several blocks in an interval the most
            that is sold in any.
        """
        if not self._products:
            return xr.Dataset()
        rows = [self._row(product, horizon) for product in self._products.values()]
        data = (("time", "product"), np.stack(rows, axis=-1))
        coords = {"time": horizon["time"].to_numpy(), "product": list(self._products)}
        return variables.tag_dataset(xr.Dataset({"reserve_held": data}, coords=coords))

    def close(self, schedule: xr.Dataset, until: np.datetime64) -> None:
        """Sell what a schedule offers in blocks whose gates close before the next decision.

        Parameters
        ----------
        schedule
            The schedule just made.
        until
            When the next one is made. [datetime64, UTC]
        """
        instants = time_axes.interval_edges(schedule)
        for name, product in self._products.items():
            offered = schedule["reserve_capacity"].sel(product=name).to_numpy()
            closes = is_gate_open(product, instants) & ~is_gate_open(product, instants, now=until)
            for step in np.flatnonzero(closes & (offered > LEAST)):
                blocks = _touched(product, instants[step], instants[step + 1])
                self._sold[name] |= dict.fromkeys(blocks, float(offered[step]))

    def _row(self, product: ReserveProduct, horizon: xr.Dataset) -> FloatArray:
        sold, instants = self._sold[product.name], horizon["instant"].to_numpy()
        return np.array(
            [
                max((sold.get(block, 0.0) for block in _touched(product, begin, end)), default=0.0)
                for begin, end in pairwise(instants)
            ]
        )


def _touched(
    product: ReserveProduct, begin: np.datetime64, end: np.datetime64
) -> list[np.datetime64]:
    """Return the starts of the blocks that an interval touches."""
    return list(block_edges(product, begin, end)[:-1])
