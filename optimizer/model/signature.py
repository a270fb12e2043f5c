"""Signatures of models: all that decides which rows and columns a model has.

This module does not import Pyomo, because the service process loads decisions that hold signatures.
"""

import pickle
from dataclasses import dataclass, field
from typing import Final

PICKLED_STATE: Final = "packed"
"""Attribute that holds the pickled state until another attribute is read."""


@dataclass(frozen=True, kw_only=True)
class SiteSignature:
    """Signature of one site: block and signature of every component.

    ``name`` is the block of the site, empty if the site is the whole model. A conversion and an
    exchange may share a block.
    """

    name: str
    components: tuple[tuple[str, object], ...]


@dataclass(frozen=True, kw_only=True)
class ModelSignature:
    """Everything that decides which rows and columns there are: equal signatures have equal models.

    ``couplings`` are block and signature of every component that connects sites.
    """

    interval_count: int
    sites: tuple[SiteSignature, ...]
    couplings: tuple[tuple[str, object], ...] = field(default_factory=tuple)

    def __getstate__(self) -> dict[str, object]:
        """Return the state as bytes, because the parts belong to modules that import Pyomo."""
        own = vars(self)
        return own if PICKLED_STATE in own else {PICKLED_STATE: pickle.dumps(own)}

    def __getattr__(self, name: str) -> object:
        """Unpickle the state when an attribute is read for the first time."""
        packed = vars(self).pop(PICKLED_STATE, None)
        if packed is None:
            raise AttributeError(name)
        vars(self).update(pickle.loads(packed))
        return getattr(self, name)
