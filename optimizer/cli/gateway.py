"""`gigatwin telemetry dcgm`: accelerators without an agent, by their exporters."""

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import structlog
import typer

from optimizer.cli.tls import Ca, Certificate, Key, tls_of
from telemetry.delivery.publisher import LosslessPublisher, SpoolStore
from telemetry.files import state_folder
from telemetry.mqtt.client import Client
from telemetry.series.dcgm import DcgmChip, DcgmRackReader, to_rack_batch
from twin.errors import SeriesError

_logger = structlog.get_logger(__name__)


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
    ca: Ca = None,
    certificate: Certificate = None,
    key: Key = None,
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
    client = Client(broker, client_id=name, tls=tls_of(ca, certificate, key))
    publisher = LosslessPublisher(client, outbox := SpoolStore(folder / name))
    hosts = _Hosts(DcgmRackReader(exporter, path=folder / f"{name}.json", each=chips))
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
            if said != (said := client.trouble or publisher.trouble) and said:
                _logger.warning("held and not durable", reason=said)
    finally:
        hosts.rack.close()
        publisher.stop()
        client.stop()
        if publisher.held:
            _logger.info("held until the next start", bytes=publisher.held)
        outbox.close()


def _await_next(period: float) -> None:
    """Wait until the clock shows the next multiple of a period, or is set back. [s]"""
    due = (time.time() // period + 1.0) * period
    while 0.0 < (left := due - time.time()) <= period:
        time.sleep(left)


class _Hosts:
    """The hosts of a rack; what is wrong with them is told when it begins and when it ends."""

    def __init__(self, rack: DcgmRackReader) -> None:
        self.rack = rack
        self._told: dict[str, str] = {}

    def read(self, patience: float) -> list[DcgmChip]:
        """Return the accelerators in their places; none if nothing is known of any."""
        try:
            return self.rack.read(patience)
        except SeriesError:
            return []
        finally:
            self._tell(self.rack.troubles)

    def _tell(self, troubles: dict[str, str]) -> None:
        for url in self._told.keys() | troubles.keys():
            if self._told.get(url) != troubles.get(url):
                reason = troubles.get(url, "")
                log = _logger.warning if reason else _logger.info
                log("not all is heard" if reason else "all is heard", exporter=url, reason=reason)
        self._told = dict(troubles)
