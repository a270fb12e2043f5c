"""Environments of a service under test: those of this machine, with some parts replaced."""

from dataclasses import replace

from optimizer.service.startup import real_environment


def environment(config, **replaced):
    """Return what a service on this machine uses, with ``replaced`` parts."""
    return replace(real_environment(config), **replaced)
