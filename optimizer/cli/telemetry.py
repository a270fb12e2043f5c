"""`gigatwin telemetry`: record a site, draft its file from telemetry, and read dcgm-exporters."""

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
    CleartextOption,
    JsonFile,
    KeyOption,
    MqttVersion,
    build_tls,
)
from optimizer.cli.output import console, option_error, write_json
from optimizer.service.state_folder import StateFolder
from telemetry.archive.repository_location import set_bucket
from telemetry.delivery.publisher import LosslessPublisher, SpoolStore
from telemetry.durable_files import default_state_folder
from telemetry.ingest.dcgm import DcgmChip, DcgmRackReader, to_rack_batch
from telemetry.ingest.ingester import IngesterConfig
from telemetry.ingest.recorder import RecorderSupervisor
from telemetry.mqtt.client import Client
from telemetry.points import discovery as site_discovery
from telemetry.points.binding import PointBinder
from telemetry.points.discovery import SiteDiscovery
from telemetry.points.plausible_ranges import LIMITS_FILE, read_site_limits
from telemetry.points.topology import MAX_NAMES_LISTED, compare_topology, mismatched_racks
from telemetry.runtime import ClockMode
from twin.errors import ArchiveError, IssueCode, SeriesError, SiteError
from twin.site import Site

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Receive and record telemetry of a site."
)

START_TIMEOUT_S: Final = 30.0
"""Longest wait for all ingesters before the recording time counts. [s]"""

LOG_INTERVAL_S: Final = 60
"""Time between two lines of the log. [s]"""

_logger = structlog.get_logger(__name__)


BrokerOption = Annotated[
    str, typer.Option(envvar="GIGATWIN_BROKER", help="mqtt:// or mqtts:// URL of the broker.")
]
HallsOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Hall whose racks get their own ingester process; name all halls, since racks of "
        "others are then ignored. Default: one process for all."
    ),
]
TypesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--type",
        help="Object type, such as Rack, whose points get their own ingester; may be repeated.",
    ),
]


@app.callback()
def telemetry() -> None:
    """Receive and record telemetry of a site."""


@app.command()
def record(  # noqa: PLR0913  (one parameter an option of the command line)
    site: Annotated[
        str,
        typer.Argument(help="Name of the site in topics, or its site file, which ends in .toml."),
    ],
    broker: BrokerOption,
    hall: HallsOption = None,
    kind: TypesOption = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.0, help="Duration; default: until Ctrl-C.")
    ] = None,
    protocol: Annotated[MqttVersion, typer.Option(help="MQTT version.")] = MqttVersion.V311,
    simulated: Annotated[bool, typer.Option("--simulated", help="Use simulated time.")] = False,
    store: Annotated[
        str | None,
        typer.Option(
            envvar="GIGATWIN_STORE",
            help="s3://bucket/prefix for values; add ?endpoint=URL for a private store.",
        ),
    ] = None,
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    allow_cleartext: CleartextOption = False,
    state: Annotated[Path | None, typer.Option(help="State folder.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Record all telemetry of a site without loss, until Ctrl-C; no service is needed.

    With a site file, or the name of a declared site, readings have the quality flags of a service.
    """
    ingester_config = IngesterConfig(
        url=broker,
        client_id="",
        topics={},
        folder="",
        protocol=protocol.client_protocol,
        ca=str(ca or ""),
        certificate=str(certificate or ""),
        key=str(key or ""),
        allow_cleartext=allow_cleartext,
    )
    loaded = _load_known_site(site)
    site = loaded.name if loaded else site
    folder = state or default_state_folder(site)
    with StateFolder(folder):
        if store is not None:
            set_bucket(folder / "archive", store)
        recording = RecorderSupervisor(
            site,
            ingester_config,
            folder=folder,
            halls=hall or (),
            types=kind or (),
            clock_mode=ClockMode.SIMULATED if simulated else ClockMode.REAL,
            binder=PointBinder(loaded, read_site_limits(folder / LIMITS_FILE)) if loaded else None,
        )
        _record(recording, seconds)
    counters = dict(recording.counters)
    console(json_file).print(
        f"{site}: {counters['messages']:,} messages, {counters['batches']:,} rack batches and "
        f"{counters['values']:,} values archived in {folder}"
    )
    result = {**counters, "coverage": recording.coverage, "troubles": recording.errors}
    write_json({"site": site, "folder": str(folder), **result}, json_file)
    if recording.unarchived_reason:
        raise ArchiveError(
            f"{recording.unarchived_reason}; the other values are in the journals: record again"
        )


def _load_known_site(site: str) -> Site | None:
    """Return the site of a file or of a declared name; None for the name of another site."""
    try:
        return sites.load_site(site)
    except SiteError:
        if site.endswith(".toml"):
            raise
        return None


def _record(recording: RecorderSupervisor, seconds: float | None) -> None:
    """Record until Ctrl-C, SIGTERM or the end of the time."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with recording:
        recording.wait(_RecordingTimer(recording, ended, seconds).is_finished)


@app.command()
def discover(  # noqa: PLR0913  (one parameter an option of the command line)
    site: Annotated[str, typer.Argument(help="Name of the site, with which tag paths begin.")],
    broker: BrokerOption,
    seconds: Annotated[float, typer.Option(min=0.0, help="Time to listen [s].")] = 120.0,
    out: Annotated[Path | None, typer.Option(help="File; default: standard output.")] = None,
    against: Annotated[str | None, typer.Option(help="Site to compare with.")] = None,
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    allow_cleartext: CleartextOption = False,
    json_file: JsonFile = None,
) -> None:
    """Listen to a plant and draft its site file; list differences from an existing file."""
    _check_output(out, json_file)
    discovery = SiteDiscovery(site)
    loaded = None if against is None else sites.load_site(against)
    screen = console("-" if out is None else json_file)
    screen.print(f"listening to {site} for {seconds:g} s")
    messages = site_discovery.discover(
        broker,
        discovery,
        seconds=seconds,
        tls=build_tls(ca, certificate, key, allow_cleartext=allow_cleartext),
    )
    if discovery.other_sites:
        others = ", ".join(
            f"{name} ({n})" for name, n in discovery.other_sites.most_common(MAX_NAMES_LISTED)
        )
        text = f"ignored, since their tag paths do not begin with {site}: points of {others}"
        screen.print(text)
    for reason in list(discovery.refused.values())[:MAX_NAMES_LISTED]:
        screen.print(f"refused: {reason}")
    if (more := len(discovery.refused) - MAX_NAMES_LISTED) > 0:
        screen.print(f"refused on {more} more topics")
    _write(discovery.draft_site_file(), out)
    differences: list[str] = []
    mismatched: list[str] = []
    if loaded is not None:
        points = list(discovery.points.values())
        differences = compare_topology(loaded, points, discovery.batches)
        mismatched = sorted(mismatched_racks(loaded, points, discovery.batches))
        screen.print(f"{len(differences)} differences from {against}")
        for difference in differences:
            screen.print(f"  {difference}")
    content = {
        "site": site,
        "messages": messages,
        "points": len(discovery.points),
        "racks": len(discovery.batches),
        "others": dict(discovery.other_sites),
        "refused": discovery.refused,
        "differences": differences,
        "racks_apart": mismatched,
    }
    write_json(content, json_file)


def _check_output(out: Path | None, json_file: str | None) -> None:
    """Check the output file before listening begins."""
    if out is None:
        if json_file == "-":
            expected = "a file, since the draft goes to standard output"
            remedy = "name a file for the draft with --out"
            raise option_error("--json", "-", expected=expected, remedy=remedy)
        return
    if not out.parent.is_dir():
        expected = f"a file in a folder, which {out.parent} is not"
    elif not os.access(out.parent, os.W_OK):
        expected = f"a file in a writable folder, which {out.parent} is not"
    elif out.exists():
        expected = "a new file"
    else:
        return
    raise _draft_error(out, expected, "name another file")


def _draft_error(out: Path, expected: str, remedy: str) -> SiteError:
    return SiteError.single(
        str(out), IssueCode.FILE_ERROR, "--out", found=str(out), expected=expected, remedy=remedy
    )


def _write(draft: str, out: Path | None) -> None:
    """Write a draft to a file, or to standard output without one or if that fails."""
    if out is None:
        typer.echo(draft, nl=False)
        return
    try:
        out.write_text(draft, encoding="utf-8")
    except OSError as error:
        typer.echo(draft, nl=False)
        expected = f"a writable file ({error.strerror})"
        raise _draft_error(out, expected, "copy the draft from standard output") from error


def dcgm(  # noqa: PLR0913  (one parameter an option of the command line)
    site: Annotated[str, typer.Argument(help="Name of the site.")],
    hall: Annotated[str, typer.Argument(help="Name of the hall.")],
    rack: Annotated[str, typer.Argument(help="Name of the rack, such as r0001.")],
    broker: BrokerOption,
    exporter: Annotated[
        list[str],
        typer.Option(
            help="http://HOST:9400/metrics of each host, in their order; may be repeated."
        ),
    ],
    chips: Annotated[int | None, typer.Option(min=1, help="Accelerators of each host.")] = None,
    period: Annotated[float, typer.Option(min=0.1, help="Time between two batches. [s]")] = 1.0,
    count: Annotated[int | None, typer.Option(min=1, help="Number of batches.")] = None,
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    allow_cleartext: CleartextOption = False,
    state: Annotated[Path | None, typer.Option(help="Folder of the spool.")] = None,
) -> None:
    """Publish the readings of dcgm-exporters of a rack's hosts, if there is no agent.

    Each accelerator keeps its position in the batches; missing ones and those of hosts that do not
    answer are left out. Batches stay on disk until the site's recording has stored them.
    """
    name = f"dcgm-{site}-{hall}-{rack}"
    folder = state or default_state_folder(site) / "sources"
    client = Client(
        broker, client_id=name, tls=build_tls(ca, certificate, key, allow_cleartext=allow_cleartext)
    )
    publisher = LosslessPublisher(client, outbox := SpoolStore(folder / name))
    hosts = _ExporterHosts(DcgmRackReader(exporter, path=folder / f"{name}.json", each=chips))
    client.start()
    publisher.start()
    boot, sequence, logged = int(time.time()), 0, ""
    interval = np.timedelta64(round(period * 1000), "ms")
    try:
        while count is None or sequence < count:
            _await_next(period)
            now = np.datetime64(time.time_ns() // 1000, "us")
            chips_read = hosts.read(period)
            if not chips_read:
                continue
            sequence += 1
            key_pair = (boot, sequence)
            batch = to_rack_batch(
                chips_read, (site, hall, rack), key=key_pair, time=now, interval=interval
            )
            publisher.publish([batch])
            if logged != (logged := client.error or publisher.error) and logged:
                _logger.warning("batches spooled", reason=logged)
    finally:
        hosts.rack.close()
        publisher.stop()
        client.stop()
        if publisher.spooled_bytes:
            _logger.info("batches spooled until the next start", bytes=publisher.spooled_bytes)
        outbox.close()


def _await_next(period: float) -> None:
    """Wait until the clock shows the next multiple of a period, or is set back. [s]"""
    due = (time.time() // period + 1.0) * period
    while 0.0 < (left := due - time.time()) <= period:
        time.sleep(left)


class _ExporterHosts:
    """Exporters of a rack; errors are logged when they begin and end."""

    def __init__(self, rack: DcgmRackReader) -> None:
        self.rack = rack
        self._logged: dict[str, str] = {}

    def read(self, timeout: float) -> list[DcgmChip]:
        """Return the accelerators in their positions; none if nothing is known."""
        try:
            return self.rack.read(timeout)
        except SeriesError:
            return []
        finally:
            self._log_changes(self.rack.errors)

    def _log_changes(self, errors: dict[str, str]) -> None:
        for url in self._logged.keys() | errors.keys():
            if self._logged.get(url) != errors.get(url):
                reason = errors.get(url, "")
                log = _logger.warning if reason else _logger.info
                log(
                    "exporter failed" if reason else "exporter recovered",
                    exporter=url,
                    reason=reason,
                )
        self._logged = dict(errors)


app.command()(dcgm)


class _RecordingTimer:
    """Ends a recording after its time, and logs its progress."""

    def __init__(
        self, recording: RecorderSupervisor, ended: threading.Event, seconds: float | None
    ) -> None:
        self._recording = recording
        self._ended = ended
        self._remaining = seconds
        self._start_wait = START_TIMEOUT_S
        self._since_log = 0.0

    def is_finished(self, pause: float) -> bool:
        """Wait for `pause` [s]; return whether the time since the start of listening is over."""
        if self._start_wait > 0.0:
            self._start_wait -= START_TIMEOUT_S if self._recording.is_listening else pause
        elif self._remaining is not None:
            pause = min(pause, self._remaining)
            self._remaining -= pause
        done = self._ended.wait(pause) or (self._remaining is not None and self._remaining <= 0.0)
        self._since_log += pause
        if self._since_log >= LOG_INTERVAL_S:
            self._since_log = 0.0
            counters = self._recording.counters
            _logger.info("recording", **counters, troubles=self._recording.errors)
        return done
