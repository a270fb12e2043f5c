"""Kernels: plain loops over numbers that numba compiles where it is installed."""

from collections.abc import Callable
from functools import cache
from typing import Final

FREEDOMS: Final = frozenset({"arcp", "contract", "nsz", "reassoc"})
"""What machine code may do for speed: sum in another order, multiply by the reciprocal. NaN and
infinity stay what they are."""


@cache
def compiled[**Arguments](
    kernel: Callable[Arguments, None], *parts: Callable[..., object]
) -> Callable[Arguments, None]:
    """Return a kernel as machine code.

    Parameters
    ----------
    kernel
        A function of numbers, arrays and named tuples of them that writes into its arguments.
    parts
        Functions of the same file that it calls; the kept machine code is as old as that file.

    Returns
    -------
    Callable
        The same function, compiled at its first call and kept beside its file for later processes;
        without numba the function as it is: the same numbers, some hundred times slower.
    """
    try:
        import numba.extending  # noqa: PLC0415  (heavy, and only in the planner's environment)
    except ImportError:
        return kernel
    for part in parts:
        numba.extending.register_jitable(fastmath=set(FREEDOMS))(part)
    compile_ = numba.njit(cache=True, nogil=True, fastmath=set(FREEDOMS))
    machine: Callable[Arguments, None] = compile_(kernel)
    return machine


def is_compiled() -> bool:
    """Return whether kernels run as machine code here."""
    return compiled(_nothing) is not _nothing


def _nothing() -> None:
    """Do nothing."""
