"""Who sends what to whom, in numbers and in words."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from optimizer.problem import Problem
from twin.physics import FloatArray
from twin.units import format_minute

LEAST: Final = 0.05
"""Work below which a transfer is not worth a word. [MWh]"""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Work that one site sends to another by a lane.

    Attributes
    ----------
    lane, kind, origin, host
        By which lane, which work, from where, to where.
    energy
        Work sent in each block. [MWh]
    starts, ends
        First and last instant of each block in which it leaves.
    price
        Mean price of the lane, weighted by the work. [EUR MWh-1]
    """

    lane: str
    kind: str
    origin: str
    host: str
    energy: tuple[float, ...]
    starts: tuple[np.datetime64, ...]
    ends: tuple[np.datetime64, ...]
    price: float

    @property
    def total(self) -> float:
        """All that is sent. [MWh]"""
        return sum(self.energy)

    def __str__(self) -> str:
        """Return the transfer in words."""
        most = int(np.argmax(self.energy))
        begin, end = format_minute(self.starts[most]), format_minute(self.ends[most])
        return (
            f"{self.origin} sends {self.total:.1f} MWh of {self.kind} to {self.host} by "
            f"{self.lane}, most of it from {begin} to {end}, at {self.price:.1f} EUR/MWh"
        )

    def as_json(self) -> dict[str, object]:
        """Return the transfer as plain values."""
        return {
            "lane": self.lane,
            "kind": self.kind,
            "origin": self.origin,
            "host": self.host,
            "mwh": round(self.total, 3),
            "price_eur_mwh": round(self.price, 3),
            "blocks": [
                {"from": format_minute(begin), "to": format_minute(end), "mwh": round(energy, 3)}
                for begin, end, energy in zip(self.starts, self.ends, self.energy, strict=True)
            ],
        }


def transfers_of(
    problems: Sequence[Problem], nets: Sequence[FloatArray], prices: FloatArray
) -> tuple[Transfer, ...]:
    """Return who sends to whom, the greatest transfer first.

    Parameters
    ----------
    problems
        Questions of the sites.
    nets
        What each sends less what it takes in, ``(block, lane)``. [MWh]
    prices
        Of the lanes, ``(block, lane)``. [EUR MWh-1]

    Notes
    -----
    Lanes settle what is sent and taken in, not who sends to whom: in each block the sites that send
    are paired with those that take in, in the order of the sites. Any other pairing costs the same.
    """
    moves = problems[0].moves
    if moves is None:
        return ()
    instants = problems[0].outlook["instant"].to_numpy()
    names = [problem.site.name for problem in problems]
    paired: dict[tuple[int, int, int], list[tuple[int, float]]] = defaultdict(list)
    for k, p in np.ndindex(prices.shape):
        for origin, host, energy in pairs([float(net[k, p]) for net in nets]):
            paired[p, origin, host].append((k, energy))
    found = []
    for (p, origin, host), parts in paired.items():
        blocks, sent = [k for k, _ in parts], tuple(energy for _, energy in parts)
        if sum(sent) < LEAST:
            continue
        found.append(
            Transfer(
                lane=moves.lanes[p].name,
                kind=moves.lanes[p].kind,
                origin=names[origin],
                host=names[host],
                energy=sent,
                starts=tuple(instants[moves.edges[k]] for k in blocks),
                ends=tuple(instants[moves.edges[k + 1]] for k in blocks),
                price=float(np.average(prices[blocks, p], weights=sent)),
            )
        )
    return tuple(sorted(found, key=lambda one: -one.total))


def pairs(nets: list[float]) -> Iterator[tuple[int, int, float]]:
    """Yield origin, host and work, from those that send to those that take in, in order.

    Parameters
    ----------
    nets
        What each site sends less what it takes in. [MWh]
    """
    sends = [[number, net] for number, net in enumerate(nets) if net > 0.0]
    takes = [[number, -net] for number, net in enumerate(nets) if net < 0.0]
    while sends and takes:
        energy = min(sends[0][1], takes[0][1])
        yield int(sends[0][0]), int(takes[0][0]), energy
        for side in (sends, takes):
            side[0][1] -= energy
            if side[0][1] <= 0.0:
                side.pop(0)
