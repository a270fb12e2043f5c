"""`gigatwin plant`: a simulated plant on a broker, for demos and tests."""

import signal
from pathlib import Path
from types import FrameType
from typing import Annotated, Final

import structlog
import typer

import sites
from optimizer.backtesting.case import DEFAULT_LOAD_SCALE, SYNTHETIC_START, synthetic_case
from optimizer.cli.backtest import LoadScaleOption
from optimizer.cli.options import (
    CaOption,
    CertificateOption,
    CleartextOption,
    JsonFile,
    KeyOption,
    MqttVersion,
    build_tls,
)
from optimizer.cli.output import console, table, write_json
from optimizer.demo.plant_run import SimulatedRunResult, build_plant_scenario, settle_run, write_run
from telemetry.feed.signing import read_key_file
from telemetry.mqtt.client import CONNECT_TIMEOUT_S, Client
from telemetry.simulator.faults import FaultKind, PlantFault
from telemetry.simulator.site import SimulatedSite, SimulationProgress, SimulationResult

app = typer.Typer(add_completion=False, help="Simulated plant for demos and tests.")

INTERVALS_PER_LOG_LINE: Final = 4
"""Quarter-hours between two lines of progress. [1]"""

MAX_PLANT_STEPS: Final = 1344
"""Quarter-hours of the synthetic June 2026, two weeks. [1]"""

_logger = structlog.get_logger(__name__)


@app.command()
def plant(  # noqa: PLR0913  (one parameter an option of the command line)
    site: Annotated[str, typer.Argument(help="Name of a declared site, or path of a site file.")],
    broker: Annotated[str, typer.Option(help="URL of the broker, such as mqtt://127.0.0.1:1883.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the plant's parameters.")] = 0,
    steps: Annotated[
        int,
        typer.Option(min=1, max=MAX_PLANT_STEPS, help="Quarter-hours to run, then the plant ends."),
    ] = 96,
    start: Annotated[str, typer.Option(help="Start in the synthetic June 2026.")] = SYNTHETIC_START,
    speed: Annotated[
        float | None, typer.Option(min=0.1, help="Simulated seconds per second.")
    ] = None,
    deadline: Annotated[
        float, typer.Option(min=0.1, help="Longest wait for a decision [s].")
    ] = 30.0,
    load_scale: LoadScaleOption = DEFAULT_LOAD_SCALE,
    out_of_service: Annotated[
        list[str] | None,
        typer.Option(help="Machine out of service from the start; may be repeated."),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help="KIND[:MACHINE][@START[-END]], such as trip:battery_1@1-3 with hours of the run; "
            f"KIND is {', '.join(FaultKind)}; may be repeated."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results.")] = None,
    order_keys: Annotated[
        Path | None,
        typer.Option(
            help="Public keys of the service (JWK set); then unsigned orders are refused."
        ),
    ] = None,
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    allow_cleartext: CleartextOption = False,
    protocol: Annotated[MqttVersion, typer.Option(help="MQTT version.")] = MqttVersion.V311,
    json_file: JsonFile = None,
) -> None:
    """Run a simulated plant in lockstep with a service, and settle its costs."""
    loaded = sites.load_site(site)
    case = synthetic_case(loaded, start=start, steps=steps, load_scale=load_scale)
    client = Client(
        broker,
        client_id=f"plant-{loaded.name}",
        protocol=protocol.client_protocol,
        tls=build_tls(ca, certificate, key, allow_cleartext=allow_cleartext),
    )
    texts = [*(f"{FaultKind.TRIP}:{name}@0" for name in out_of_service or ()), *(fault or ())]
    faults = [PlantFault.parse(text, loaded) for text in texts]
    scene = build_plant_scenario(case, seed=seed, faults=faults)
    simulated = SimulatedSite(
        scene,
        client,
        speed=speed,
        deadline=deadline,
        listen=_log_progress,
        order_keys=None if order_keys is None else read_key_file(order_keys),
    )

    def stop(_signal: int, _frame: FrameType | None) -> None:
        simulated.stop()

    if order_keys is None:
        _logger.warning("orders are not verified", remedy="give --order-keys")
    client.connect(CONNECT_TIMEOUT_S)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        result = simulated.run()
    finally:
        client.stop()
    run_result = settle_run(case, result, seed=seed)
    _show(run_result, json_file)
    console(json_file).print(_describe_end(result, steps))
    if out is not None:
        write_run(out, loaded, run_result)
    write_json(run_result.as_json(), json_file)


def _describe_end(result: SimulationResult, steps: int) -> str:
    """Return why the plant has ended, and how to run a longer one."""
    done = len(result.backlog_and_progress)
    over = (
        f"the plant ended after {done} of {steps} quarter-hours; the service gets no more telemetry"
    )
    more = f"; start it again, with --steps for a longer run (at most {MAX_PLANT_STEPS})"
    return over + (more if done == steps else "")


def _log_progress(report: SimulationProgress) -> None:
    if report.interval_count - report.completed_intervals == INTERVALS_PER_LOG_LINE:
        _logger.warning("plant ends in an hour", steps=report.interval_count, longer="set --steps")
    if (
        report.completed_intervals % INTERVALS_PER_LOG_LINE == 0
        or report.completed_intervals == report.interval_count
    ):
        _logger.info(
            "plant",
            time=str(report.time.astype("datetime64[m]")) + "Z",
            done=f"{report.completed_intervals}/{report.interval_count}",
            net_mw=round(report.net_power, 2),
            running=report.running,
            waiting=report.waiting,
            undecided=report.undecided_interval_count,
            refused=report.refusal_count,
        )


def _show(run_result: SimulatedRunResult, json_file: str | None) -> None:
    summary = run_result.summary
    shown = table("what the plant did", "total", "value", numbers=["value"])
    shown.add_row("cost [EUR]", f"{summary.cost_eur:,.0f}")
    shown.add_row("carbon [t]", f"{summary.carbon_kg / 1000.0:,.1f}")
    shown.add_row("energy [MWh]", f"{summary.energy_mwh:,.1f}")
    shown.add_row("peak [MW]", f"{summary.peak_mw:,.1f}")
    shown.add_row("late [h]", f"{summary.lateness_h:,.1f}")
    shown.add_row("violations [min]", f"{summary.violations:d}")
    shown.add_row("undecided quarter-hours", f"{run_result.event_counts['undecided']:d}")
    console(json_file).print(shown)
