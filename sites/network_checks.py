"""What a declared network and the machines of its site must keep together."""

from collections import Counter
from collections.abc import Iterator

from sites.faults import spot
from twin.equipment import Transformer
from twin.errors import Fault
from twin.load_flow import fed_machines
from twin.site import Site


def check_network(site: Site) -> Iterator[Fault]:
    """Yield machines on medium voltage that stand nowhere, and units that are not the bank's.

    Parameters
    ----------
    site
        A site of sound machines; without a network it has no faults here.
    """
    if site.network is None:
        return
    fed, feeds = fed_machines(site), site.network.feeds
    for name in fed:
        if name not in feeds:
            mend = f"{name} draws from medium voltage or gives to it; name the nodes it stands at"
            yield Fault(place=f"[network.feeds.{name}]", value="", mend=mend)
    for name in feeds:
        if name not in fed:
            mend = f"no machine on medium voltage is named so; there are {', '.join(fed)}"
            yield Fault(place=f"[network.feeds.{name}]", value="", mend=mend)
    banks = {bank.name: bank.count for bank in site.of(Transformer)}
    used = Counter[str]()
    for name, units in site.network.transformers.items():
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
