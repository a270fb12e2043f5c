r"""Carbon of a run in its two accounts, and how much of its energy was free of carbon.

With the import :math:`E_t`, the mix's intensity :math:`c_t`, what contracts match :math:`M_t` and
own sun and wind :math:`R_t`, all in the same interval,

.. math::
    C_{location} = \sum E_t c_t, \quad C_{market} = \sum \max(E_t - M_t, 0) c_{residual}, \quad
    S = \frac{\sum (\min(E_t, M_t) + R_t)}{\sum (E_t + R_t + G_t)}

with what generators gave, :math:`G_t`. :math:`R_t` is what was used as it came, as in REF.

References
----------
.. [1] World Resources Institute, "GHG Protocol Scope 2 Guidance," 2015.
.. [2] Google, "24/7 carbon-free energy: methodologies and metrics," 2021.
"""

from collections.abc import Iterator

import numpy as np
import xarray as xr

from twin.effectiveness import own_renewables
from twin.equipment import HourlyMatching
from twin.figure import IDLE, Figure, unknown
from twin.site import Site


def carbon_figures(site: Site, run: xr.Dataset, *, is_own_known: bool = True) -> Iterator[Figure]:
    """Yield the carbon accounts of a run.

    Parameters
    ----------
    site
        The site; its contracts tell what is matched.
    run
        ``grid_import_power``, ``grid_export_power``, ``facility_power`` [MW] on ``time`` with
        ``duration`` and, if known, ``renewable_used_power``, ``matched_power`` [MW] and
        ``carbon_intensity`` [kg MWh-1].
    is_own_known
        Whether it tells what own sun, wind and generators gave.

    Yields
    ------
    Figure
        By location where the mix's carbon is known; by the market where a contract matches hours;
        and the share that is free of carbon: of own sun and wind and of matched hours. The share
        that the grid's mix has of it counts nothing, as nobody else could claim it then.
    """
    hours, bought = run["duration"], run["grid_import_power"]
    if "carbon_intensity" in run:
        carbon = float((bought * run["carbon_intensity"]) @ hours)
        yield Figure("carbon", "carbon of the import", "kg", carbon, "run; location-based")
    contracts = site.of(HourlyMatching)  # one at most
    is_told = "matched_power" in run or all(one.band_power > 0.0 for one in contracts)
    matched = xr.zeros_like(bought)
    for contract in contracts:
        matched = matched + contract.matched_power(run)
    names = ", ".join(contract.name for contract in contracts)
    key, meaning = "carbon-market", "carbon of what no contract matches"
    for contract in contracts:
        above = float((bought - matched).clip(min=0.0) @ hours)
        carbon, basis = above * contract.residual_intensity, f"run and {names}; market-based"
        lost = unknown(key, meaning, "kg", to=f"{names}: no file tells matched_power")
        yield Figure(key, meaning, "kg", carbon, basis) if is_told else lost
    key, meaning = "carbon-free", "share of the energy free of carbon, hour by hour"
    if not (is_own_known and is_told):
        who = (
            f"{names}: no file tells matched_power" if is_own_known else "whoever meters own power"
        )
        yield unknown(key, meaning, "1", to=who)
        return
    own = own_renewables(run)
    made = run["genset_output"].sum("genset") if "genset_output" in run else xr.zeros_like(own)
    whole = float((bought + own + made) @ hours)
    free = float((own + np.minimum(bought, matched)) @ hours)
    basis = f"run and {names}" if contracts else "run; own sun and wind only"
    share = free / whole if whole > 0.0 else None
    yield Figure(key, meaning, "1", share, basis if whole > 0.0 else IDLE)
