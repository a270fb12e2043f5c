"""Figures; the only subpackage that imports matplotlib."""

from twin.plots.comparisons import (
    plot_calibration,
    plot_comparison,
    plot_fleet,
    plot_pareto_front,
    plot_savings,
    plot_validation_errors,
)
from twin.plots.time_series import plot_contingency, plot_run

__all__ = [
    "plot_calibration",
    "plot_comparison",
    "plot_contingency",
    "plot_fleet",
    "plot_pareto_front",
    "plot_run",
    "plot_savings",
    "plot_validation_errors",
]
