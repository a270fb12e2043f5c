"""What couples the sites of a fleet: what some send by a lane, others take in."""

from dataclasses import dataclass

import pyomo.environ as pyo

from optimizer.ledger import Ledger, added


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What of a fleet decides which rows and columns there are.

    Attributes
    ----------
    sites
        Names of the sites; each has the block ``moves``, with the same blocks of time and lanes.
    lanes
        Number of lanes.
    starts
        First interval of every block of time.
    """

    sites: tuple[str, ...]
    lanes: int
    starts: tuple[int, ...]


def build(
    block: pyo.Block,
    shape: Shape,
    _: Ledger,
    *,
    sites: object,  # noqa: ARG001  (it pays nothing)
) -> None:
    """Let every lane carry in each block as much as is sent.

    Parameters
    ----------
    block
        Empty block.
    shape
        Shape of the fleet.
    sites
        Ledgers of the sites; what is moved is paid there.
    """
    block.blocks = pyo.Set(initialize=shape.starts)
    block.lanes = pyo.RangeSet(0, shape.lanes - 1)
    moves = [block.model().component(name).moves for name in shape.sites]
    block.carries = pyo.Constraint(
        block.blocks,
        block.lanes,
        rule=lambda _, k, p: added([one.net[k, p] for one in moves]) == 0.0,
    )
