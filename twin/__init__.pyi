from twin.forecast.history import series_history
from twin.forecast.outlook import outlook
from twin.plots import plot_comparison, plot_run, plot_validation_errors
from twin.racks.view import view
from twin.reporting.eu_report import report_items
from twin.reporting.indicators import indicators
from twin.simulation.limits import count_violations
from twin.simulation.simulate import simulate, simulate_in_chunks
from twin.simulation.state import initial_state
from twin.site import Site
from twin.time_axes import horizon_axes, regular_axes, to_utc
from twin.workload.arrivals import expected_arrivals
from twin.workload.flexibility import work_flexibility
from twin.workload.jobs import workload_from_jobs
from twin.workload.queue import RackPool, open_queue

__all__ = [
    "RackPool",
    "Site",
    "count_violations",
    "expected_arrivals",
    "horizon_axes",
    "indicators",
    "initial_state",
    "open_queue",
    "outlook",
    "plot_comparison",
    "plot_run",
    "plot_validation_errors",
    "regular_axes",
    "report_items",
    "series_history",
    "simulate",
    "simulate_in_chunks",
    "to_utc",
    "view",
    "work_flexibility",
    "workload_from_jobs",
]
