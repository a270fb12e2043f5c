"""What a declared network and the machines of its site must keep together."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from sites.faults import spot, written
from twin.electrical.load_flow import fed_machines
from twin.electrical.network import Network, reached
from twin.equipment import Transformer
from twin.errors import Fault
from twin.site import Site

WINDING: Final = (0.75, 1.35)
"""Rated voltage of a winding over the nominal one of its node; common are 0.9 to 1.1. [1]"""


def check_network(site: Site) -> Iterator[Fault]:
    """Yield what of a network fits neither the machines of its site nor itself.

    Parameters
    ----------
    site
        A site of sound machines; without a network it has no faults here.
    """
    if site.network is None:
        return
    yield from _feeds(site, site.network)
    yield from _banks(site, site.network)
    yield from _cables(site.network)
    turned = list(_windings(site.network))
    yield from turned or _source(site.network)


def _feeds(site: Site, network: Network) -> Iterator[Fault]:
    fed, feeds = fed_machines(site), network.feeds
    for name in fed:
        if name not in feeds:
            mend = f"{name} draws from medium voltage or gives to it; name the nodes it stands at"
            yield Fault(place=f"[network.feeds.{name}]", value="", mend=mend)
    for name in feeds:
        if name not in fed:
            mend = f"no machine on medium voltage is named so; there are {', '.join(fed)}"
            yield Fault(place=f"[network.feeds.{name}]", value="", mend=mend)


def _banks(site: Site, network: Network) -> Iterator[Fault]:
    banks = {bank.name: bank.count for bank in site.of(Transformer)}
    used = Counter[str]()
    for name, units in network.transformers.items():
        used[units.machine] += units.count
        if units.machine not in banks:
            place = spot(f"network.transformers.{name}", "machine")
            mend = f"must be a transformer of the site; there are {', '.join(banks)}"
            yield Fault(place=place, value=f'"{units.machine}"', mend=mend)
    for name, count in banks.items():
        if used[name] != count:
            place = spot(f"equipment.{name}", "count")
            mend = f"the network has {used[name]} of its units; the two must agree"
            yield Fault(place=place, value=f"{count}", mend=mend)


def _cables(network: Network) -> Iterator[Fault]:
    """Yield cables that carry nothing, or join two voltages, of which no load flow is known."""
    for name, cable in network.cables.items():
        place, value = spot(f"network.cables.{name}", "ends"), written(cable.ends)
        one, other = cable.ends
        if one == other:
            mend = "a cable leads from one node to another; name two nodes"
            yield Fault(place=place, value=value, mend=mend)
        elif not _is_level(network, cable.ends):
            mend = (
                f"a cable joins nodes of one voltage, but {_at(network, one)} and "
                f"{_at(network, other)}; mend an end or a voltage, or use a transformer"
            )
            yield Fault(place=place, value=value, mend=mend)


def _windings(network: Network) -> Iterator[Fault]:
    """Yield transformers whose sides stand at nodes of other voltages than their windings."""
    for name, units in network.transformers.items():
        table = f"network.transformers.{name}"
        if units.high == units.low:
            mend = "a transformer leads from one node to another; name another one here"
            yield Fault(place=spot(table, "low"), value=f'"{units.low}"', mend=mend)
            continue
        for key, rated in (("high", units.high_voltage), ("low", units.low_voltage)):
            node = getattr(units, key)
            if not WINDING[0] <= rated / network.nodes[node].voltage <= WINDING[1]:
                mend = (
                    f"{_at(network, node)}, but {key}_voltage is {rated:g} kV; are high and low "
                    "exchanged? name the node of that side, or mend a voltage"
                )
                yield Fault(place=spot(table, key), value=f'"{node}"', mend=mend)


def _source(network: Network) -> Iterator[Fault]:
    """Yield a source behind the transformers, whose losses the run has the connection pay."""
    joined = [cable.ends for cable in network.cables.values() if _is_level(network, cable.ends)]
    near = reached(network.source, joined)
    behind = [name for name, units in network.transformers.items() if units.low in near]
    if behind:
        high = ", ".join(sorted({units.high for units in network.transformers.values()} - near))
        mend = (
            f"{_at(network, network.source)} and stands on the low side of {behind[0]}; the "
            f"connection feeds the high sides: {high or 'name a node of its own there'}"
        )
        yield Fault(place=spot("network", "source"), value=f'"{network.source}"', mend=mend)


def _is_level(network: Network, ends: tuple[str, str]) -> bool:
    """Return whether two nodes have one voltage."""
    return network.nodes[ends[0]].voltage == network.nodes[ends[1]].voltage


def _at(network: Network, node: str) -> str:
    return f"{node} has {network.nodes[node].voltage:g} kV"
