"""Checks of a declared network against the machines of its site."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from sites.schema import key_location, toml_value_text
from twin.equipment import TransformerBank
from twin.equipment.electrical_network import MediumVoltageNetwork, reachable_nodes
from twin.errors import IssueCode, ValidationIssue
from twin.site import Site, network_machines

WINDING_VOLTAGE_RATIO: Final = (0.75, 1.35)
"""Allowed rated voltage of a winding over that of its node; usual are 0.9 to 1.1. [1]"""


def network_issues(site: Site) -> Iterator[ValidationIssue]:
    """Yield the issues of a declared network and its machines."""
    if site.network is None:
        return
    yield from _feeds(site, site.network)
    yield from _banks(site, site.network)
    yield from _cables(site.network)
    windings = list(_windings(site.network))
    yield from windings or _source_node(site.network)


def _feeds(site: Site, network: MediumVoltageNetwork) -> Iterator[ValidationIssue]:
    fed, feeds = network_machines(site), network.feeds
    for name in fed:
        if name not in feeds:
            yield IssueCode.MISSING.issue(
                f"[network.feeds.{name}]",
                expected="the nodes of each machine on medium voltage",
                remedy=f"add this table with the nodes of {name}",
            )
    for name in feeds:
        if name not in fed:
            yield IssueCode.UNKNOWN_NAME.issue(
                f"[network.feeds.{name}]",
                expected=f"one of {', '.join(fed)}",
                remedy="name a machine on medium voltage, or remove the table",
            )


def _banks(site: Site, network: MediumVoltageNetwork) -> Iterator[ValidationIssue]:
    banks = {bank.name: bank.count for bank in site.machines_of(TransformerBank)}
    used = Counter[str]()
    for name, units in network.transformers.items():
        used[units.machine] += units.count
        if units.machine not in banks:
            yield IssueCode.UNKNOWN_NAME.issue(
                key_location(f"network.transformers.{name}", "machine"),
                found=f'"{units.machine}"',
                expected=f"one of {', '.join(banks)}",
                remedy="name a transformer of the site",
            )
    for name, count in banks.items():
        if used[name] != count:
            yield IssueCode.INCONSISTENT.issue(
                key_location(f"equipment.{name}", "count"),
                found=f"{count}",
                expected=f"{used[name]}, as in the network",
                remedy="give both the same count",
            )


def _cables(network: MediumVoltageNetwork) -> Iterator[ValidationIssue]:
    """Yield an issue for cables with one node, or with nodes of two voltages."""
    for name, cable in network.cables.items():
        location, value = (
            key_location(f"network.cables.{name}", "ends"),
            toml_value_text(cable.ends),
        )
        one, other = cable.ends
        if one == other:
            yield IssueCode.INCONSISTENT.issue(
                location, found=value, expected="two different nodes", remedy="change one end"
            )
        elif not _is_level(network, cable.ends):
            remedy = (
                f"correct an end or a voltage, or use a transformer: {_voltage_text(network, one)} "
                f"and {_voltage_text(network, other)}"
            )
            yield IssueCode.INCONSISTENT.issue(
                location, found=value, expected="two nodes of one voltage", remedy=remedy
            )


def _windings(network: MediumVoltageNetwork) -> Iterator[ValidationIssue]:
    """Yield an issue for transformers whose windings do not match the voltages of their nodes."""
    for name, units in network.transformers.items():
        table = f"network.transformers.{name}"
        if units.high == units.low:
            yield IssueCode.INCONSISTENT.issue(
                key_location(table, "low"),
                found=f'"{units.low}"',
                expected="another node than that of the high side",
                remedy="name another node",
            )
            continue
        for key, rated in (("high", units.high_voltage), ("low", units.low_voltage)):
            node = getattr(units, key)
            if (
                not WINDING_VOLTAGE_RATIO[0]
                <= rated / network.nodes[node].voltage
                <= WINDING_VOLTAGE_RATIO[1]
            ):
                remedy = (
                    f"exchange high and low, or correct a voltage: {_voltage_text(network, node)}"
                )
                yield IssueCode.INCONSISTENT.issue(
                    key_location(table, key),
                    found=f'"{node}"',
                    expected=f"a node near {key}_voltage, {rated:g} kV",
                    remedy=remedy,
                )


def _source_node(network: MediumVoltageNetwork) -> Iterator[ValidationIssue]:
    """Yield an issue for a source on the low side of the transformers.

    The connection must pay their losses.
    """
    joined = [cable.ends for cable in network.cables.values() if _is_level(network, cable.ends)]
    near = reachable_nodes(network.source, joined)
    behind = [name for name, units in network.transformers.items() if units.low in near]
    if behind:
        high = ", ".join(sorted({units.high for units in network.transformers.values()} - near))
        yield IssueCode.INCONSISTENT.issue(
            key_location("network", "source"),
            found=f'"{network.source}"',
            expected="a node on the high side of the transformers",
            remedy=f"name {high or 'a separate node there'}: {network.source} is on the low side "
            f"of {behind[0]}",
        )


def _is_level(network: MediumVoltageNetwork, ends: tuple[str, str]) -> bool:
    """Return whether two nodes have the same voltage."""
    return network.nodes[ends[0]].voltage == network.nodes[ends[1]].voltage


def _voltage_text(network: MediumVoltageNetwork, node: str) -> str:
    return f"{node} has {network.nodes[node].voltage:g} kV"
