"""Load what is large, fast."""

import gc
from importlib import import_module
from types import ModuleType


def import_without_gc(name: str) -> ModuleType:
    """Import a module, and all that it needs, with the collector of garbage at rest.

    Modules live as long as the process: to search them again and again while they come in takes a
    fifth of the time of our imports, and finds nothing.

    Parameters
    ----------
    name
        Its dotted name.

    Returns
    -------
    types.ModuleType
        The module.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return import_module(name)
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
