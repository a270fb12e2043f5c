"""`gigatwin replay`: a stretch of the archive back onto MQTT."""

from pathlib import Path
from typing import Annotated

import typer

from optimizer.cli.show import JsonFile, console, write_json
from telemetry.archive.reading import state_folder
from telemetry.client import Client
from telemetry.replay import play, said

app = typer.Typer(add_completion=False, help="Play what was heard of a site once more.")


@app.command()
def replay(
    site: Annotated[str, typer.Argument(help="Name of the site.")],
    start: Annotated[str, typer.Option("--from", help="First moment, UTC.")],
    end: Annotated[str, typer.Option("--to", help="First moment not wanted, UTC.")],
    broker: Annotated[str, typer.Option(help="mqtt:// or mqtts:// URL.")],
    speed: Annotated[
        float, typer.Option(min=0.0, help="Seconds of data in a second; 0: as fast as it goes.")
    ] = 1.0,
    state: Annotated[
        Path | None, typer.Option(help="State folder of its service; by default as `gigatwin run`.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Publish points, their metadata and rack batches with the times they had."""
    folder = (state or state_folder(site)) / "archive"
    client = Client(broker, client_id=f"gigatwin-replay-{site}", is_clean=True)
    client.connect()
    try:
        count = play(said(folder, site, start=start, end=end), client, speed=speed)
    finally:
        client.stop()
    console(json_file).print(f"{site}: {count:,} messages, all acknowledged by the broker")
    write_json({"site": site, "messages": count}, json_file)
