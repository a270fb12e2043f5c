"""What decides which rows and columns a model has.

It stands apart from what builds the model, since decisions carry it where Pyomo is not loaded: into
the process of the service.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SiteShape:
    """What of one site decides which rows and columns there are.

    Attributes
    ----------
    name
        Block of the site; empty if it is the model itself.
    parts
        Block and shape of every member. A conversion and an exchange may share a block.
    """

    name: str
    parts: tuple[tuple[str, object], ...]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What decides which rows and columns there are: equal shapes have equal models.

    Attributes
    ----------
    steps
        Number of intervals.
    sites
        The sites.
    couplings
        Block and shape of every part that binds named sites to one another, written after them.
    """

    steps: int
    sites: tuple[SiteShape, ...]
    couplings: tuple[tuple[str, object], ...] = ()
