"""`gigatwin replay`: publish a period of the archive on MQTT again."""

from pathlib import Path
from typing import Annotated

import typer

from optimizer.cli.options import (
    CaOption,
    CertificateOption,
    CleartextOption,
    JsonFile,
    KeyOption,
    build_tls,
)
from optimizer.cli.output import console, write_json
from telemetry.durable_files import default_state_folder
from telemetry.mqtt.client import Client
from telemetry.simulator.replay import DecisionWaiter, publish_replay, read_messages, with_ticks
from twin.time_axes import to_utc

app = typer.Typer(add_completion=False, help="Publish a period of the archive on MQTT again.")


@app.command()
def replay(  # noqa: PLR0913  (one parameter an option of the command line)
    site: Annotated[str, typer.Argument(help="Name of the site.")],
    start: Annotated[str, typer.Option("--from", help="First instant, UTC.")],
    end: Annotated[str, typer.Option("--to", help="End, exclusive, UTC.")],
    broker: Annotated[str, typer.Option(help="mqtt:// or mqtts:// URL of the broker.")],
    speed: Annotated[
        float, typer.Option(min=0.0, help="Data seconds per second; 0: no limit.")
    ] = 1.0,
    ticks: Annotated[
        bool, typer.Option("--ticks", help="Publish ticks for --clock simulated.")
    ] = False,
    state: Annotated[
        Path | None,
        typer.Option(help="State folder of its service; default: that of `gigatwin run`."),
    ] = None,
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    allow_cleartext: CleartextOption = False,
    json_file: JsonFile = None,
) -> None:
    """Publish points, metadata and rack batches with their original times."""
    folder = (state or default_state_folder(site)) / "archive"
    first, last = to_utc(start), to_utc(end)
    messages = read_messages(folder, site, start=first, end=last)
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
