"""`gigatwin demo`: a day of a gigafactory over real MQTT, from telemetry to a signed schedule."""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import sites
from optimizer.backtesting.results import DEFAULT_PLANNER
from optimizer.cli.options import JsonFile
from optimizer.cli.output import console, table, write_json
from optimizer.demo import DemoConfig, DemoRun, run_demo
from twin.errors import ServiceError, ValidationIssue

app = typer.Typer(add_completion=False, help="Run a simulated day over real MQTT.")

DEMO_FOLDER: Final = Path(".demo")
"""Where a demo leaves its state, logs and results."""

INTERVALS_PER_HOUR: Final = 4
"""Quarter-hours in an hour. [1]"""

SUMMARY_ROWS: Final = {
    "cost_eur": "cost, EUR",
    "carbon_kg": "carbon, kg",
    "peak_mw": "peak, MW",
    "energy_mwh": "energy, MWh",
    "energy_equal_work_mwh": "energy, equal work, MWh",
    "pue": "PUE",
    "lateness_h": "lateness, h",
    "violations": "violations",
}
"""What of a summary is shown, and how it is called."""


@app.command()
def demo(
    site: Annotated[
        str, typer.Option(help="Name of a declared site, or path of a file.")
    ] = "rhine",
    once: Annotated[bool, typer.Option("--once", help="End after the day.")] = False,
    broker: Annotated[
        str | None, typer.Option(help="URL of a broker; without it one of our own, on loopback.")
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(min=1.0, help="Simulated seconds a second; without it as fast as it goes."),
    ] = None,
    hours: Annotated[int, typer.Option(min=1, max=24, help="Hours to run.")] = 24,
    page: Annotated[int, typer.Option(help="Port of the page; 0 takes a free one.")] = 0,
    json_file: JsonFile = None,
) -> None:
    """Run broker, simulated plant, service, partner and page for a day, and sum up."""
    typed = float(os.environ.get("GIGATWIN_TYPED", time.time()))
    loaded = sites.load_site(site)
    screen = console(json_file)
    screen.print(
        f"[bold]{escape(loaded.title)}[/]\nprices, weather and jobs are synthetic: made by us, "
        "they say nothing about a real market"
    )
    folder = DEMO_FOLDER.absolute() / loaded.name
    words = f"its state is in {folder / 'state'}: name it with --state to status, hold and release"
    screen.print(words, markup=False)
    told = DemoConfig(
        site=loaded,
        source=site,
        folder=folder,
        broker=broker,
        steps=hours * INTERVALS_PER_HOUR,
        speed=speed,
        page_port=page,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end what was started, too
    with _Progress(screen, typed) as progress, run_demo(told, progress.listen) as day:
        progress.stop()
        result = _result(told, day, typed)
        screen.print(_table(result["policies"]))
        if not day.other_policies:
            screen.print(
                f"what other policies would have done is not known; see {told.folder}/others.log",
                markup=False,
            )
        _print_counts(screen, told, result)
        write_json(result, json_file)
        if not once:
            screen.print(f"the page stays at {day.page}; Ctrl-C ends")
            _wait()
    if faults := _unmet_expectations(result, told):
        raise ServiceError("demo", faults)


class _Progress:
    """A line in the terminal that tells how far the day is."""

    def __init__(self, screen: Console, typed: float) -> None:
        self._screen, self._typed = screen, typed
        self._bar = Progress(
            TextColumn("{task.fields[time]}"),
            BarColumn(30),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[words]}"),
            TimeElapsedColumn(),
            console=screen,
        )
        self._task = self._bar.add_task("", total=1, time="starting", words="")
        self._page, self._is_first = "", True

    def __enter__(self) -> "_Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def stop(self) -> None:
        """Leave the line as it is."""
        self._bar.stop()

    def listen(self, day: DemoRun) -> None:
        """Show how far the day is."""
        seen = day.traffic
        if day.page and not self._page:
            self._page = day.page
            self._screen.print(f"page: {day.page}   broker: {day.broker}", markup=False)
        if seen.first_accepted_at is not None and self._is_first:
            self._is_first = False
            self._screen.print(
                f"first schedule acknowledged after {seen.first_accepted_at - self._typed:.1f} s"
            )
        if not seen.steps:
            return
        power = "" if seen.power is None else f"{seen.power:.1f} MW"
        words = f"{seen.source} {power}, {len(seen.accepted)} of {len(seen.revisions)} acknowledged"
        time_text = str(seen.time.astype("datetime64[m]")).replace("T", " ")
        self._bar.update(
            self._task, completed=seen.step, total=seen.steps, time=f"{time_text} UTC", words=words
        )


def _result(config: DemoConfig, day: DemoRun, typed: float) -> dict[str, object]:
    """Return the object that ``--json`` writes."""
    policies = {DEFAULT_PLANNER: day.plant_result["summary"], **day.other_policies}
    seen = day.traffic
    return {
        "site": config.site.name,
        "simulated_hours": config.steps / INTERVALS_PER_HOUR,
        "first_schedule_s": None
        if seen.first_accepted_at is None
        else round(seen.first_accepted_at - typed, 2),
        "schedules_published": len(seen.revisions),
        "partner_received": day.received_schedules,
        "acknowledged": len(seen.accepted),
        "violations": day.plant_result["summary"]["violations"],
        "policies": policies,
        "is_synthetic": True,
        "broker": day.broker,
        "page": day.page,
    }


def _table(policies: object) -> Table:
    names = list(policies) if isinstance(policies, Mapping) else []
    shown = table("The day, settled", "", *names, numbers=names)
    for row, words in SUMMARY_ROWS.items():
        values = [policies[name][row] for name in names] if isinstance(policies, Mapping) else []
        shown.add_row(words, *(f"{value:,.{_digits(row)}f}" for value in values))
    return shown


def _digits(row: str) -> int:
    return {"pue": 4, "peak_mw": 1, "lateness_h": 1}.get(row, 0)


def _print_counts(screen: Console, config: DemoConfig, result: Mapping[str, object]) -> None:
    screen.print(
        f"{result['schedules_published']} schedules published, {result['partner_received']} "
        f"received and verified by the partner, {result['acknowledged']} acknowledged, "
        f"{result['violations']} violations on the plant"
    )
    screen.print(f"state, logs and results are in {config.folder}", markup=False)


def _unmet_expectations(result: Mapping[str, object], config: DemoConfig) -> list[ValidationIssue]:
    """Return what was promised and did not happen."""
    wanted = {
        "schedules_published": config.steps,
        "partner_received": config.steps,
        "acknowledged": config.steps,
        "violations": 0,
    }
    return [
        ValidationIssue(
            location=name, found=str(result[name]), remedy=f"should be {value}; see {config.folder}"
        )
        for name, value in wanted.items()
        if result[name] != value
    ]


def _wait() -> None:
    try:
        while True:
            time.sleep(1.0)
    except KeyboardInterrupt:
        return
