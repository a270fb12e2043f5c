from twin.axes import horizon, regular, utc
from twin.effectiveness import indicators
from twin.forecast.outlook import outlook
from twin.forecast.record import record
from twin.limits import violations
from twin.plots import plot_comparison, plot_errors, plot_run
from twin.reporting import figures
from twin.scale.march import march
from twin.scale.view import view
from twin.simulation import simulate
from twin.site import Site
from twin.state import rest
from twin.workloads.arrivals import expect
from twin.workloads.envelope import envelope
from twin.workloads.jobs import from_jobs
from twin.workloads.queue import Pool, open_queue

__all__ = [
    "Pool",
    "Site",
    "envelope",
    "expect",
    "figures",
    "from_jobs",
    "horizon",
    "indicators",
    "march",
    "open_queue",
    "outlook",
    "plot_comparison",
    "plot_errors",
    "plot_run",
    "record",
    "regular",
    "rest",
    "simulate",
    "utc",
    "view",
    "violations",
]
