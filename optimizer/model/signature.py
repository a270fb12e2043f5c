"""What decides which rows and columns a model has.

It stands apart from what builds the model, since decisions carry it where Pyomo is not loaded: into
the process of the service.
"""

import pickle
from dataclasses import dataclass, field
from typing import Final

PICKLED_STATE: Final = "packed"
"""Name under which a shape holds its own bytes until somebody looks into it."""


@dataclass(frozen=True, kw_only=True)
class SiteSignature:
    """What of one site decides which rows and columns there are.

    Attributes
    ----------
    name
        Block of the site; empty if it is the model itself.
    components
        Block and shape of every member. A conversion and an exchange may share a block.
    """

    name: str
    components: tuple[tuple[str, object], ...]


@dataclass(frozen=True, kw_only=True)
class ModelSignature:
    """What decides which rows and columns there are: equal shapes have equal models.

    Attributes
    ----------
    interval_count
        Number of intervals.
    sites
        The sites.
    couplings
        Block and shape of every part that binds named sites to one another, written after them.
    """

    interval_count: int
    sites: tuple[SiteSignature, ...]
    couplings: tuple[tuple[str, object], ...] = field(default_factory=tuple)

    def __getstate__(self) -> dict[str, object]:
        """Return what another process gets: bytes, for the parts belong to modules with Pyomo."""
        own = vars(self)
        return own if PICKLED_STATE in own else {PICKLED_STATE: pickle.dumps(own)}

    def __getattr__(self, name: str) -> object:
        """Return an attribute of a shape from another process that nobody has looked into yet."""
        packed = vars(self).pop(PICKLED_STATE, None)
        if packed is None:
            raise AttributeError(name)
        vars(self).update(pickle.loads(packed))
        return getattr(self, name)
