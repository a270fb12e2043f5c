"""What a service is told when it starts."""

from dataclasses import dataclass
from typing import Final, Literal

from optimizer.inputs.series_files import SeriesFiles
from telemetry.mqtt.connection import TlsFiles

DEFAULT_PAGE_PORT: Final = 8440
"""Port of the page unless its user says otherwise."""


@dataclass(frozen=True, kw_only=True)
class ServiceConfig:
    """What a service is told when it starts.

    Attributes
    ----------
    broker
        URL of the plant's broker, which is the partners' too.
    series_files
        Prices, carbon and weather.
    is_shadow
        Plan and show everything, order and publish nothing.
    is_simulated
        The clock is that of a simulated plant.
    is_synthetic
        The series were made by us; said everywhere.
    page_port
        Port of the page on loopback; 0 takes a free one, None serves no page.
    page_hosts
        Names under which a proxy shows the page, beside those of loopback.
    tls
        Certificates, if the broker wants them.
    protocol
        Version of MQTT.
    """

    broker: str
    series_files: SeriesFiles
    is_shadow: bool = False
    is_simulated: bool = False
    is_synthetic: bool = False
    page_port: int | None = DEFAULT_PAGE_PORT
    page_hosts: tuple[str, ...] = ()
    tls: TlsFiles | None = None
    protocol: Literal["3.1.1", "5"] = "3.1.1"
