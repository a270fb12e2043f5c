"""`gigatwin archive`: check, compact, export, back up and restore a site's telemetry archive.

`gigatwin replay`: publish a period of it on MQTT again.
"""

from pathlib import Path
from typing import Annotated, Final

import typer

import sites
from optimizer.cli.options import (
    CaOption,
    CertificateOption,
    CleartextOption,
    JsonFile,
    KeyOption,
    build_tls,
)
from optimizer.cli.output import console, table, write_json
from optimizer.service.state_folder import StateFolder
from telemetry.archive import Archive
from telemetry.archive import backup as archive_backup
from telemetry.archive.export import export as write_export
from telemetry.archive.reader import ArchiveGroup, Resolution
from telemetry.archive.reader import open as open_archive
from telemetry.durable_files import default_state_folder
from telemetry.mqtt.client import Client
from telemetry.simulator.replay import DecisionWaiter, publish_replay, read_messages, with_ticks
from twin.errors import ArchiveError, IssueCode
from twin.time_axes import to_utc

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Check, compact, export, back up or restore a telemetry archive.",
)

MAX_LOSSES_IN_TABLE: Final = 20
"""Losses in the table; JSON lists all."""

LOSS_COLUMNS: Final = ("group", "level", "variable", "from", "to", "columns", "reason")

_BYTES_PER_MB: Final = 1e6

SiteNameOption = Annotated[str, typer.Argument(help="Name of the site.")]
StateOption = Annotated[
    Path | None, typer.Option(help="State folder of its service; default: that of `gigatwin run`.")
]


GROUPS: Final[dict[str, ArchiveGroup | None]] = {
    "variables": None,
    "points": "points",
    "racks": "racks",
}
RESOLUTIONS: Final[dict[str, Resolution]] = {
    "1s": None,
    "1min": "1min",
    "15min": "15min",
    "1h": "1h",
}


def _folder(site: str, state: Path | None) -> Path:
    return (state or default_state_folder(site)) / "archive"


@app.command()
def verify(site: SiteNameOption, state: StateOption = None, json_file: JsonFile = None) -> None:
    """Check the checksum of every block, list lost data, and exit 1 if there are any."""
    found = archive_backup.verify(_folder(site, state), site)
    screen = console(json_file)
    screen.print(
        f"{site}: {found.blocks:,} blocks, {found.stored_bytes / _BYTES_PER_MB:,.1f} MB, "
        f"{found.value_count:,} values, {found.bytes_per_value:.2f} B each; "
        f"{found.open_hour_count} hours not compacted"
    )
    if found.lost:
        shown = table("lost", *LOSS_COLUMNS)
        for one in found.lost[:MAX_LOSSES_IN_TABLE]:
            shown.add_row(*(str(one.get(name, "")) for name in LOSS_COLUMNS))
        screen.print(shown)
    write_json(
        {
            "blocks": found.blocks,
            "bytes": found.stored_bytes,
            "points": found.value_count,
            "bytes_per_point": found.bytes_per_value,
            "open_hours": found.open_hour_count,
            "lost": found.lost,
        },
        json_file,
    )
    if found.lost:
        raise typer.Exit(1)


@app.command()
def compact(site: SiteNameOption, state: StateOption = None, json_file: JsonFile = None) -> None:
    """Compact all hours now, open ones too, and delete what only old commits need.

    Stop the service or recording before; they compact by themselves.
    """
    folder = _folder(site, state)
    if not folder.is_dir():
        message = f"{folder}: no archive; name the state folder of a service with --state"
        raise ArchiveError(message, code=IssueCode.MISSING)
    with StateFolder(folder.parent):
        hours = Archive(folder, site).maintain(is_whole=True)
    console(json_file).print(f"{site}: {hours} hours compacted")
    write_json({"hours": hours}, json_file)


@app.command()
def export(  # noqa: PLR0913  (one parameter an option of the command line)
    site: SiteNameOption,
    to: Annotated[Path, typer.Argument(help="FILE.parquet, FILE.nc or FILE.csv.")],
    start: Annotated[str | None, typer.Option("--from", help="First instant, UTC.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End, exclusive, UTC.")] = None,
    group: Annotated[str, typer.Option(help="variables, points or racks.")] = "variables",
    resolution: Annotated[str, typer.Option(help="Resolution: 1s, 1min, 15min or 1h.")] = "1s",
    state: StateOption = None,
    json_file: JsonFile = None,
) -> None:
    """Write a period of the archive to a Parquet, NetCDF or CSV file."""
    for option, value, known in (
        ("--group", group, GROUPS),
        ("--resolution", resolution, RESOLUTIONS),
    ):
        if value not in known:
            message = f"{option} = {value}: choose one of {', '.join(known)}"
            raise ArchiveError(message, code=IssueCode.UNKNOWN_NAME)
    opened = open_archive(
        site if GROUPS[group] else sites.load_site(site),
        start=start,
        end=end,
        group=GROUPS[group],
        resolution=RESOLUTIONS[resolution],
        root=_folder(site, state).parent,
    )
    rows = write_export(opened, to)
    console(json_file).print(f"{to}: {rows:,} rows")
    write_json({"file": str(to), "rows": rows, "bytes": to.stat().st_size}, json_file)


@app.command()
def backup(
    site: SiteNameOption,
    to: Annotated[Path, typer.Argument(help="New file, such as archive.tar.")],
    state: StateOption = None,
    json_file: JsonFile = None,
) -> None:
    """Write the current archive to one file; the service may run."""
    size = archive_backup.backup(_folder(site, state), to)
    console(json_file).print(f"{to}: {size / _BYTES_PER_MB:,.1f} MB")
    write_json({"file": str(to), "bytes": size}, json_file)


@app.command()
def restore(
    site: SiteNameOption,
    source: Annotated[Path, typer.Argument(help="File of `gigatwin archive backup`.")],
    force: Annotated[bool, typer.Option("--force", help="Accept losses.")] = False,
    state: StateOption = None,
    json_file: JsonFile = None,
) -> None:
    """Replace the archive by a backup and set the old one aside. Stop the service before."""
    folder = _folder(site, state)
    with StateFolder(folder.parent):
        found = archive_backup.restore(source, folder, site, is_forced=force)
    console(json_file).print(
        f"{site}: {found.value_count:,} values restored, {len(found.lost)} losses"
    )
    write_json({"points": found.value_count, "lost": found.lost}, json_file)


replay_app = typer.Typer(
    add_completion=False, help="Publish a period of the archive on MQTT again."
)


@replay_app.command()
def replay(  # noqa: PLR0913  (one parameter an option of the command line)
    site: SiteNameOption,
    start: Annotated[str, typer.Option("--from", help="First instant, UTC.")],
    end: Annotated[str, typer.Option("--to", help="End, exclusive, UTC.")],
    broker: Annotated[str, typer.Option(help="mqtt:// or mqtts:// URL of the broker.")],
    speed: Annotated[
        float, typer.Option(min=0.0, help="Data seconds per second; 0: no limit.")
    ] = 1.0,
    ticks: Annotated[
        bool, typer.Option("--ticks", help="Publish ticks for --clock simulated.")
    ] = False,
    state: StateOption = None,
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    allow_cleartext: CleartextOption = False,
    json_file: JsonFile = None,
) -> None:
    """Publish points, metadata and rack batches with their original times."""
    first, last = to_utc(start), to_utc(end)
    messages = read_messages(_folder(site, state), site, start=first, end=last)
    client = Client(
        broker,
        client_id=f"gigatwin-replay-{site}",
        clean_session=True,
        tls=build_tls(ca, certificate, key, allow_cleartext=allow_cleartext),
    )
    decide = None
    if ticks:
        messages = with_ticks(messages, site, start=first, end=last)
        decide = DecisionWaiter(client, site).wait
    client.connect()
    try:
        count = publish_replay(messages, client, speed=speed, decide=decide)
    finally:
        client.stop()
    console(json_file).print(f"{site}: {count:,} messages, all acknowledged by the broker")
    write_json({"site": site, "messages": count}, json_file)
