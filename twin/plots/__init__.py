"""Figures for people to look at; the one home of matplotlib."""

from twin.plots.calibration import plot_calibration
from twin.plots.errors import plot_errors
from twin.plots.failures import plot_trip
from twin.plots.fleet import plot_fleet
from twin.plots.front import plot_front
from twin.plots.runs import plot_comparison, plot_run
from twin.plots.savings import plot_savings

__all__ = [
    "plot_calibration",
    "plot_comparison",
    "plot_errors",
    "plot_fleet",
    "plot_front",
    "plot_run",
    "plot_savings",
    "plot_trip",
]
