"""Whether every carrier that something asks for has something that delivers it."""

from collections.abc import Iterator, Mapping
from typing import Final

from twin.errors import Fault
from twin.relations import Convert
from twin.site import Site

BOUGHT: Final = frozenset({"grid", "water"})
"""Carriers that come from outside the fence."""

SUPPLIERS: Final[Mapping[str, str]] = {
    "busbar": "transformer that delivers busbar",
    "medium_voltage": "transformer or switchgear",
    "critical": "ups",
    "rack": "distribution",
    "liquid": "cdu",
    "air": "hall_air",
    "warm": "cooling_plant that serves warm",
    "chilled": "cooling_plant that serves chilled",
    "heat": "heat_reuse",
}
"""Carrier -> the kinds of machines that deliver it."""

_HEAT: Final = {"liquid", "air", "warm", "chilled"}


def without_path(site: Site) -> Iterator[Fault]:
    """Yield what is asked for and not delivered: heat, then, has no path out of the site.

    Parameters
    ----------
    site
        The site.

    Yields
    ------
    Fault
        One a carrier, at a machine that asks for it.
    """
    converts = [relation for relation in site.relations if isinstance(relation, Convert)]
    wanted = {carrier: convert.owner for convert in converts for carrier in convert.draws}
    wanted |= {store.carrier: store.owner for store in site.stores}
    wanted |= {exchange.carrier: exchange.owner for exchange in site.exchanges}
    for work in site.works:
        wanted |= dict.fromkeys([work.carrier, *work.heat], work.owner)
    supplied = {convert.output for convert in converts} | BOUGHT
    for carrier, owner in wanted.items():
        if carrier not in supplied:
            kinds = SUPPLIERS[carrier]
            mend = f"needs {carrier}, which no machine delivers; add one of kind {kinds}"
            if carrier in _HEAT:
                mend += ", or its heat has no path"
            yield Fault(place=f"[equipment.{owner}]", value="", mend=mend)
