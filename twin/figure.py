"""One figure of a report: known from a run, or left to whoever meters it."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Final

IDLE: Final = "unknown: nothing was drawn that it is over"

METERS: Final = "whoever meters it"
"""Who knows what a machine of the site did, where no file tells it."""


@dataclass(frozen=True)
class Figure:
    """One figure of a report.

    Attributes
    ----------
    key
        Its sign in the regulation, or our word where it has none.
    meaning, unit
        What it is.
    value
        Its value; None where whoever files has to know it, or nothing was drawn that it is over.
    basis
        Where the value comes from, or who knows it.
    """

    key: str
    meaning: str
    unit: str
    value: float | None
    basis: str


def unknown(key: str, meaning: str, unit: str, *, to: str) -> Figure:
    """Return a figure that somebody else knows."""
    return Figure(key, meaning, unit, None, f"known by {to}")


def metered(key: str, meaning: str, energy: float, *, gone: Set[str]) -> Figure:
    """Return a figure of machines: what none of them tells is not known, and not 0. [kWh]"""
    if gone:
        return unknown(key, meaning, "kWh", to=METERS)
    return Figure(key, meaning, "kWh", energy, "run")
