"""`gigatwin demo`: a simulated day over real MQTT, from telemetry to a signed schedule."""

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import sites
from optimizer.cli.options import CleartextOption, JsonFile
from optimizer.cli.output import console, table, write_json
from optimizer.demo import DemoConfig, DemoRun, run_demo
from optimizer.model.objective import RiskPreference
from optimizer.policies.policy import DEFAULT_PLANNER, site_planner
from twin.errors import IssueCode, ServiceError, ValidationIssue

app = typer.Typer(add_completion=False, help="Run a simulated day over real MQTT.")

DEMO_FOLDER: Final = Path(".demo")
"""Folder for state, logs and results."""

INTERVALS_PER_HOUR: Final = 4
"""Quarter-hours of an hour. [1]"""

SUMMARY_ROWS: Final = {
    "cost_eur": "cost, EUR",
    "carbon_equal_work_kg": "carbon, equal work, kg",
    "peak_mw": "peak, MW",
    "energy_equal_work_mwh": "energy, equal work, MWh",
    "pue": "PUE1, interim",
    "lateness_h": "lateness, h",
    "violations": "violations",
}
"""Key of a summary -> its label in the table."""

TABLE_NOTE: Final = (
    "equal work: as metered, and what the work left at the end will take; lateness: hours by which "
    "jobs ended after their deadlines, summed; a day is too short to compare savings"
)
"""Meaning of the rows of the table."""


@app.command()
def demo(  # noqa: PLR0913  (one parameter an option of the command line)
    site: Annotated[
        str, typer.Option(help="Name of a declared site, or path of a site file.")
    ] = "rhine",
    once: Annotated[bool, typer.Option("--once", help="End after the day.")] = False,
    broker: Annotated[str | None, typer.Option(help="Broker URL; default: embedded.")] = None,
    speed: Annotated[
        float | None,
        typer.Option(min=1.0, help="Simulated seconds per second; default: as fast as possible."),
    ] = None,
    hours: Annotated[int, typer.Option(min=1, max=24, help="Hours to run.")] = 24,
    page: Annotated[int, typer.Option(help="Port of the status page; 0 takes a free one.")] = 0,
    allow_cleartext: CleartextOption = False,
    json_file: JsonFile = None,
) -> None:
    """Run broker, simulated plant, service, partner and page for a day, and summarise it."""
    start_time = float(os.environ.get("GIGATWIN_TYPED", time.time()))
    loaded = sites.load_site(site)
    screen = console(json_file)
    screen.print(loaded.title, style="bold")
    screen.print("prices, weather and jobs are synthetic; they do not represent a real market")
    folder = DEMO_FOLDER.absolute() / loaded.name
    hint = f"its state is in {folder / 'state'}: name it with --state to status, hold and release"
    screen.print(hint)
    config = DemoConfig(
        site=loaded,
        site_name_or_file=site,
        folder=folder,
        broker=broker,
        interval_count=hours * INTERVALS_PER_HOUR,
        speed=speed,
        page_port=page,
        allow_cleartext=allow_cleartext,
    )
    # the interrupt also ends the processes that were started
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _Progress(screen, start_time) as progress, run_demo(config, progress.listen) as day:
        progress.stop()
        result = _result(config, day, start_time)
        screen.print(_table(result["policies"]))
        screen.print(TABLE_NOTE, style="dim")
        if result["risk"]:
            screen.print(f"{DEFAULT_PLANNER}: {RiskPreference().describe()}", style="dim")
        if not day.other_policies:
            screen.print(
                f"the results of other policies are missing; see {config.folder}/others.log"
            )
        _print_counts(screen, config, result)
        write_json(result, json_file)
        if not once:
            screen.print(f"the page stays at {day.page_url}; Ctrl-C ends")
            _wait()
    ServiceError.raise_if_any("demo", _unmet_expectations(result, config))


class _Progress:
    """A progress line in the terminal."""

    def __init__(self, screen: Console, start_time: float) -> None:
        self._screen, self._start_time = screen, start_time
        self._bar = Progress(
            TextColumn("{task.fields[time]}"),
            BarColumn(30),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            console=screen,
        )
        self._task = self._bar.add_task("", total=1, time="starting", text="")
        self._page, self._is_first = "", True

    def __enter__(self) -> "_Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def stop(self) -> None:
        """Stop the line and leave it visible."""
        self._bar.stop()

    def listen(self, day: DemoRun) -> None:
        """Show the progress of the day."""
        traffic = day.traffic
        if day.page_url and not self._page:
            self._page = day.page_url
            self._screen.print(f"page: {day.page_url}   broker: {day.broker}")
        if traffic.first_accepted_at is not None and self._is_first:
            self._is_first = False
            delay = traffic.first_accepted_at - self._start_time
            self._screen.print(f"first schedule acknowledged after {delay:.1f} s")
        if not traffic.interval_count:
            return
        power = (
            "" if traffic.scheduled_net_import is None else f"{traffic.scheduled_net_import:.1f} MW"
        )
        acknowledged = (
            f"{len(traffic.accepted_revisions)} of {len(traffic.published_revisions)} acknowledged"
        )
        time_text = str(traffic.time.astype("datetime64[m]")).replace("T", " ")
        self._bar.update(
            self._task,
            completed=traffic.plant_interval,
            total=traffic.interval_count,
            time=f"{time_text} UTC",
            text=f"{traffic.schedule_source} {power}, {acknowledged}",
        )


def _result(config: DemoConfig, day: DemoRun, start_time: float) -> dict[str, object]:
    """Return the object that ``--json`` writes."""
    policies = {site_planner(config.site): day.plant_result["summary"], **day.other_policies}
    traffic = day.traffic
    return {
        "site": config.site.name,
        "simulated_hours": config.interval_count / INTERVALS_PER_HOUR,
        "first_schedule_s": None
        if traffic.first_accepted_at is None
        else round(traffic.first_accepted_at - start_time, 2),
        "schedules_published": len(traffic.published_revisions),
        "partner_received": day.received_schedule_count,
        "acknowledged": len(traffic.accepted_revisions),
        "violations": day.plant_result["summary"]["violations"],
        "policies": policies,
        "risk": {DEFAULT_PLANNER: asdict(RiskPreference())} if DEFAULT_PLANNER in policies else {},
        "is_synthetic": True,
        "broker": day.broker,
        "page": day.page_url,
    }


def _table(policies: object) -> Table:
    names = list(policies) if isinstance(policies, Mapping) else []
    shown = table("The day, settled", "", *names, numbers=names)
    for row, label in SUMMARY_ROWS.items():
        values = [policies[name][row] for name in names] if isinstance(policies, Mapping) else []
        shown.add_row(label, *(f"{value:,.{_decimals(row)}f}" for value in values))
    return shown


def _decimals(row: str) -> int:
    return {"pue": 4, "peak_mw": 1, "lateness_h": 1}.get(row, 0)


def _print_counts(screen: Console, config: DemoConfig, result: Mapping[str, object]) -> None:
    screen.print(
        f"{result['schedules_published']} schedules published, {result['partner_received']} "
        f"received and verified by the partner, {result['acknowledged']} acknowledged, "
        f"{result['violations']} violations on the plant"
    )
    screen.print(f"state, logs and results are in {config.folder}")


def _unmet_expectations(result: Mapping[str, object], config: DemoConfig) -> list[ValidationIssue]:
    """Return the expectations that the day did not meet."""
    expected = {
        "schedules_published": config.interval_count,
        "partner_received": config.interval_count,
        "acknowledged": config.interval_count,
        "violations": 0,
    }
    return [
        IssueCode.OUT_OF_RANGE.issue(
            name,
            found=str(result[name]),
            expected=str(value),
            remedy=f"see the logs in {config.folder}",
        )
        for name, value in expected.items()
        if result[name] != value
    ]


def _wait() -> None:
    try:
        while True:
            time.sleep(1.0)
    except KeyboardInterrupt:
        return
