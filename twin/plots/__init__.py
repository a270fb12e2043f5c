"""Figures; the only subpackage that imports matplotlib."""

from twin.plots.comparisons import (
    plot_calibration,
    plot_comparison,
    plot_fleet,
    plot_pareto_front,
    plot_savings,
    plot_sizing_curve,
    plot_validation_errors,
)
from twin.plots.energy import plot_duration_curve, plot_energy_flows, plot_heat_map
from twin.plots.site_diagram import plot_site
from twin.plots.time_series import plot_contingency, plot_forecast_fan, plot_margins, plot_run

__all__ = [
    "plot_calibration",
    "plot_comparison",
    "plot_contingency",
    "plot_duration_curve",
    "plot_energy_flows",
    "plot_fleet",
    "plot_forecast_fan",
    "plot_heat_map",
    "plot_margins",
    "plot_pareto_front",
    "plot_run",
    "plot_savings",
    "plot_site",
    "plot_sizing_curve",
    "plot_validation_errors",
]
