"""`gigatwin telemetry`: record a site, and draft its file from what is heard.

`gigatwin telemetry dcgm`: accelerators without an agent, by their exporters.
"""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import structlog
import typer

import sites
from optimizer.cli.options import (
    CaOption,
    CertificateOption,
    JsonFile,
    KeyOption,
    MqttVersion,
    build_tls,
)
from optimizer.cli.output import console, write_json
from optimizer.service.state_folder import StateFolder
from telemetry.archive.storage import set_bucket
from telemetry.delivery.publisher import LosslessPublisher, SpoolStore
from telemetry.files import state_folder
from telemetry.ingest.ingester import IngesterConfig
from telemetry.ingest.recorder import RecorderSupervisor
from telemetry.mqtt.client import Client
from telemetry.points.discovery import SiteDiscovery
from telemetry.points.discovery import discover as discovery_discover
from telemetry.points.topology import MAX_NAMES_LISTED, compare_topology, mismatched_racks
from telemetry.series.dcgm import DcgmChip, DcgmRackReader, to_rack_batch
from twin.errors import ArchiveError, ProblemError, SeriesError, SiteError, ValidationIssue

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Hear and record a site.")

START_TIMEOUT_S: Final = 30.0
"""Longest wait for the broker to let all ingesters in, until time is counted without them. [s]"""

LOG_INTERVAL_S: Final = 60
"""Seconds between two lines of the log. [s]"""

_logger = structlog.get_logger(__name__)


BrokerOption = Annotated[
    str, typer.Option(envvar="GIGATWIN_BROKER", help="mqtt:// or mqtts:// URL of the broker.")
]
HallsOption = Annotated[
    list[str] | None,
    typer.Option(
        help="A hall whose racks have an ingester process of their own; name all, "
        "as racks of others are not heard then. Without it one process hears them all."
    ),
]
TypesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--type",
        help="An object type, as Rack, whose points have an ingester of their own; repeat it.",
    ),
]


@app.callback()
def telemetry() -> None:
    """Hear and record a site."""


@app.command()
def record(  # noqa: PLR0913  (one parameter an option of the command line)
    site: Annotated[str, typer.Argument(help="Name of the site, as it stands in topics.")],
    broker: BrokerOption,
    hall: HallsOption = None,
    kind: TypesOption = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.0, help="End by itself after listening for so long; else on Ctrl-C."),
    ] = None,
    protocol: Annotated[
        MqttVersion, typer.Option(help="Of MQTT; 5 is faster with Mosquitto, NATS speaks 3.1.1.")
    ] = MqttVersion.V311,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Times are those of a simulated plant.")
    ] = False,
    store: Annotated[
        str | None,
        typer.Option(
            envvar="GIGATWIN_STORE",
            help="s3://bucket/prefix where values go; add ?endpoint=URL for a store of your own.",
        ),
    ] = None,
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    state: Annotated[
        Path | None, typer.Option(help="State folder; by default as `gigatwin run`.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Record all that a site says, losing nothing, until Ctrl-C; no service need run."""
    task = IngesterConfig(
        url=broker,
        client_id="",
        topics={},
        folder="",
        protocol=protocol.version,
        ca=str(ca or ""),
        certificate=str(certificate or ""),
        key=str(key or ""),
    )
    folder = state or state_folder(site)
    with StateFolder(folder):
        if store is not None:
            set_bucket(folder / "archive", store)
        recording = RecorderSupervisor(
            site, task, folder=folder, halls=hall or (), types=kind or (), is_simulated=simulated
        )
        _record(recording, seconds)
    counters = dict(recording.counters)
    console(json_file).print(
        f"{site}: {counters['messages']:,} messages, {counters['batches']:,} rack batches and "
        f"{counters['values']:,} values archived in {folder}"
    )
    told = {**counters, "coverage": recording.coverage, "troubles": recording.errors}
    write_json({"site": site, "folder": str(folder), **told}, json_file)
    if recording.unarchived_reason:
        message = (
            f"{recording.unarchived_reason}; what is not archived is in the journals: record again"
        )
        raise ArchiveError(message)


def _record(recording: RecorderSupervisor, seconds: float | None) -> None:
    """Record until it is time to end."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with recording:
        recording.wait(_RecordingTimer(recording, ended, seconds).is_finished)


@app.command()
def discover(  # noqa: PLR0913  (one parameter an option of the command line)
    site: Annotated[str, typer.Argument(help="Name of the site, as tag paths begin.")],
    broker: BrokerOption,
    seconds: Annotated[
        float, typer.Option(min=0.0, help="How long to listen; metadata comes every 100 s.")
    ] = 120.0,
    out: Annotated[
        Path | None, typer.Option(help="Where the draft goes; else to standard output.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Site file, or declared site, to compare with.")
    ] = None,
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    json_file: JsonFile = None,
) -> None:
    """Listen to a plant and write a draft of its site file; tell where a file differs from it."""
    _expect_new(out, json_file)
    discovery = SiteDiscovery(site)
    loaded = None if against is None else sites.load_site(against)
    screen = console("-" if out is None else json_file)
    screen.print(f"listening to {site} for {seconds:g} s")
    heard = discovery_discover(
        broker, discovery, seconds=seconds, tls=build_tls(ca, certificate, key)
    )
    if discovery.other_sites:
        others = ", ".join(
            f"{name} ({n})" for name, n in discovery.other_sites.most_common(MAX_NAMES_LISTED)
        )
        words = f"passed over, as their tag paths do not begin with {site}: points of {others}"
        screen.print(words, markup=False)
    for reason in list(discovery.refused.values())[:MAX_NAMES_LISTED]:
        screen.print(f"refused: {reason}", markup=False)
    if (more := len(discovery.refused) - MAX_NAMES_LISTED) > 0:
        screen.print(f"and what came on {more} more topics")
    _write(discovery.draft(), out)
    differences: list[str] = []
    apart: list[str] = []
    if loaded is not None:
        points = list(discovery.points.values())
        differences = compare_topology(loaded, points, discovery.batches)
        apart = sorted(mismatched_racks(loaded, points, discovery.batches))
        screen.print(f"{len(differences)} differences from {against}", markup=False)
        for difference in differences:
            screen.print(f"  {difference}", markup=False)
    content = {
        "site": site,
        "messages": heard,
        "points": len(discovery.points),
        "racks": len(discovery.batches),
        "others": dict(discovery.other_sites),
        "refused": discovery.refused,
        "differences": differences,
        "racks_apart": apart,
    }
    write_json(content, json_file)


def _expect_new(out: Path | None, json_file: str | None) -> None:
    """Refuse a file that the draft cannot become, before anybody listens for minutes."""
    if out is None:
        if json_file == "-":
            remedy = "the draft goes to standard output too: name a file for it with --out"
            raise ProblemError(
                "command", [ValidationIssue(location="--json", found="-", remedy=remedy)]
            )
        return
    remedy = "name a new file"
    if not out.parent.is_dir():
        remedy = f"name a file in a folder that is there; {out.parent} is none"
    elif not os.access(out.parent, os.W_OK):
        remedy = f"name a file in a folder where you may write; {out.parent} is none"
    elif not out.exists():
        return
    raise SiteError(str(out), [ValidationIssue(location="--out", found=str(out), remedy=remedy)])


def _write(draft: str, out: Path | None) -> None:
    """Write a draft into a file, or to standard output where there is none or it fails."""
    if out is None:
        typer.echo(draft, nl=False)
        return
    try:
        out.write_text(draft, encoding="utf-8")
    except OSError as error:
        typer.echo(draft, nl=False)
        remedy = f"the draft stands above; it could not be written: {error.strerror}"
        raise SiteError(
            str(out), [ValidationIssue(location="--out", found=str(out), remedy=remedy)]
        ) from error


def dcgm(  # noqa: PLR0913  (one parameter an option of the command line)
    site: Annotated[str, typer.Argument(help="Name of the site.")],
    hall: Annotated[str, typer.Argument(help="Its hall.")],
    rack: Annotated[str, typer.Argument(help="The rack, as r0001.")],
    broker: Annotated[
        str, typer.Option(envvar="GIGATWIN_BROKER", help="mqtt:// or mqtts:// URL of the broker.")
    ],
    exporter: Annotated[
        list[str],
        typer.Option(help="http://HOST:9400/metrics; repeat it for each host, in their order."),
    ],
    chips: Annotated[
        int | None,
        typer.Option(min=1, help="Accelerators of each host; else as many as were ever heard."),
    ] = None,
    period: Annotated[float, typer.Option(min=0.1, help="Time between two batches. [s]")] = 1.0,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many batches.")] = None,
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    state: Annotated[
        Path | None, typer.Option(help="Folder that holds what is not durable at the site yet.")
    ] = None,
) -> None:
    """Publish what dcgm-exporters tell of a rack's hosts, where there is no agent yet.

    Each accelerator keeps its place in the batches; of one that is not there, or of a host that
    does not answer, nothing is told. Each batch is held on disk until the site's recording has it,
    over any loss of the broker.
    """
    name = f"dcgm-{site}-{hall}-{rack}"
    folder = state or state_folder(site) / "sources"
    client = Client(broker, client_id=name, tls=build_tls(ca, certificate, key))
    publisher = LosslessPublisher(client, outbox := SpoolStore(folder / name))
    hosts = _ExporterHosts(DcgmRackReader(exporter, path=folder / f"{name}.json", each=chips))
    client.start()
    publisher.start()
    boot, sequence, said = int(time.time()), 0, ""
    interval = np.timedelta64(round(period * 1000), "ms")
    try:
        while count is None or sequence < count:
            _await_next(period)
            now = np.datetime64(time.time_ns() // 1000, "us")
            heard = hosts.read(period)
            if not heard:
                continue
            sequence += 1
            key_of = (boot, sequence)
            batch = to_rack_batch(
                heard, (site, hall, rack), key=key_of, time=now, interval=interval
            )
            publisher.publish([batch])
            if said != (said := client.error or publisher.error) and said:
                _logger.warning("held and not durable", reason=said)
    finally:
        hosts.rack.close()
        publisher.stop()
        client.stop()
        if publisher.spooled_bytes:
            _logger.info("held until the next start", bytes=publisher.spooled_bytes)
        outbox.close()


def _await_next(period: float) -> None:
    """Wait until the clock shows the next multiple of a period, or is set back. [s]"""
    due = (time.time() // period + 1.0) * period
    while 0.0 < (left := due - time.time()) <= period:
        time.sleep(left)


class _ExporterHosts:
    """The hosts of a rack; what is wrong with them is told when it begins and when it ends."""

    def __init__(self, rack: DcgmRackReader) -> None:
        self.rack = rack
        self._logged: dict[str, str] = {}

    def read(self, timeout: float) -> list[DcgmChip]:
        """Return the accelerators in their places; none if nothing is known of any."""
        try:
            return self.rack.read(timeout)
        except SeriesError:
            return []
        finally:
            self._tell(self.rack.errors)

    def _tell(self, errors: dict[str, str]) -> None:
        for url in self._logged.keys() | errors.keys():
            if self._logged.get(url) != errors.get(url):
                reason = errors.get(url, "")
                log = _logger.warning if reason else _logger.info
                log("not all is heard" if reason else "all is heard", exporter=url, reason=reason)
        self._logged = dict(errors)


app.command()(dcgm)


class _RecordingTimer:
    """Tells when a recording is over, and how it goes once a minute."""

    def __init__(
        self, recording: RecorderSupervisor, ended: threading.Event, seconds: float | None
    ) -> None:
        self._recording = recording
        self._ended = ended
        self._left = seconds
        self._start_wait = START_TIMEOUT_S
        self._quiet = 0.0

    def is_finished(self, pause: float) -> bool:
        """Wait so long [s]; return whether it is time to end, counted from when all listen."""
        if self._start_wait > 0.0:
            self._start_wait -= START_TIMEOUT_S if self._recording.is_listening else pause
        elif self._left is not None:
            pause = min(pause, self._left)
            self._left -= pause
        is_over = self._ended.wait(pause) or (self._left is not None and self._left <= 0.0)
        self._quiet += pause
        if self._quiet >= LOG_INTERVAL_S:
            self._quiet = 0.0
            counters = self._recording.counters
            _logger.info("recording", **counters, troubles=self._recording.errors)
        return is_over
