"""`gigatwin replay`: a stretch of the archive back onto MQTT."""

from pathlib import Path
from typing import Annotated

import typer

from optimizer.cli.options import CaOption, CertificateOption, JsonFile, KeyOption, build_tls
from optimizer.cli.output import console, write_json
from telemetry.files import state_folder
from telemetry.mqtt.client import Client
from telemetry.simulator.replay import DecisionWaiter, publish_replay, read_messages, with_ticks
from twin.time_axes import to_utc

app = typer.Typer(add_completion=False, help="Play what was heard of a site once more.")


@app.command()
def replay(  # noqa: PLR0913  (one parameter an option of the command line)
    site: Annotated[str, typer.Argument(help="Name of the site.")],
    start: Annotated[str, typer.Option("--from", help="First moment, UTC.")],
    end: Annotated[str, typer.Option("--to", help="First moment not wanted, UTC.")],
    broker: Annotated[str, typer.Option(help="mqtt:// or mqtts:// URL.")],
    speed: Annotated[
        float, typer.Option(min=0.0, help="Seconds of data in a second; 0: as fast as it goes.")
    ] = 1.0,
    ticks: Annotated[
        bool,
        typer.Option(
            "--ticks", help="Tick each quarter-hour, and wait for a service of --clock simulated."
        ),
    ] = False,
    state: Annotated[
        Path | None, typer.Option(help="State folder of its service; by default as `gigatwin run`.")
    ] = None,
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    json_file: JsonFile = None,
) -> None:
    """Publish points, their metadata and rack batches with the times they had."""
    folder = (state or state_folder(site)) / "archive"
    first, last = to_utc(start), to_utc(end)
    stretch = read_messages(folder, site, start=first, end=last)
    client = Client(
        broker,
        client_id=f"gigatwin-replay-{site}",
        clean_session=True,
        tls=build_tls(ca, certificate, key),
    )
    decide = None
    if ticks:
        stretch = with_ticks(stretch, site, start=first, end=last)
        decide = DecisionWaiter(client, site).wait
    client.connect()
    try:
        count = publish_replay(stretch, client, speed=speed, decide=decide)
    finally:
        client.stop()
    console(json_file).print(f"{site}: {count:,} messages, all acknowledged by the broker")
    write_json({"site": site, "messages": count}, json_file)
