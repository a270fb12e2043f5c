from .calibration.calibrate import calibrate
from .forecast.outlook import outlook
from .forecast.series_record import series_history
from .markets.bills import bills_by_year
from .plots import (
    plot_calibration,
    plot_comparison,
    plot_duration_curve,
    plot_energy_flows,
    plot_forecast_fan,
    plot_heat_map,
    plot_margins,
    plot_pareto_front,
    plot_run,
    plot_site,
    plot_sizing_curve,
    plot_validation_errors,
)
from .racks.view import view
from .reporting.eu_report import report_items
from .reporting.indicators import indicators
from .simulation.operating_limits import count_violations
from .simulation.simulate import settled_state, simulate, simulate_in_chunks, steady
from .simulation.state import initial_state
from .site import Site
from .time_axes import horizon_axes, regular_axes, to_utc
from .weather import Weather
from .workload.arrival_forecast import expected_arrivals
from .workload.cohorts import work_flexibility
from .workload.jobs import workload_from_jobs
from .workload.queue import RackPool, open_queue

__all__ = [
    "RackPool",
    "Site",
    "Weather",
    "bills_by_year",
    "calibrate",
    "count_violations",
    "expected_arrivals",
    "horizon_axes",
    "indicators",
    "initial_state",
    "open_queue",
    "outlook",
    "plot_calibration",
    "plot_comparison",
    "plot_duration_curve",
    "plot_energy_flows",
    "plot_forecast_fan",
    "plot_heat_map",
    "plot_margins",
    "plot_pareto_front",
    "plot_run",
    "plot_site",
    "plot_sizing_curve",
    "plot_validation_errors",
    "regular_axes",
    "report_items",
    "series_history",
    "settled_state",
    "simulate",
    "simulate_in_chunks",
    "steady",
    "to_utc",
    "view",
    "work_flexibility",
    "workload_from_jobs",
]
