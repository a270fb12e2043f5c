"""Settings of a service."""

from dataclasses import dataclass
from typing import Final, Literal

from optimizer.inputs.series_files import SeriesFiles
from telemetry.mqtt.connection import TlsFiles

DEFAULT_PAGE_PORT: Final = 8440


@dataclass(frozen=True, kw_only=True)
class ServiceConfig:
    """Settings of a service.

    - `broker`: URL of the broker of plant and partners.
    - `series_files`: prices, carbon and weather.
    - `is_shadow`: plan and show everything; order and publish nothing.
    - `is_simulated`: the clock is that of a simulated plant.
    - `has_synthetic_series`: prices and weather are synthetic.
    - `page_port`: port of the page on loopback; 0 takes a free one, None serves no page.
    - `page_hosts`: further host names under which a proxy serves the page.
    - `tls`: certificates, if the broker requires them.
    - `protocol`: version of MQTT.
    """

    broker: str
    series_files: SeriesFiles
    is_shadow: bool = False
    is_simulated: bool = False
    has_synthetic_series: bool = False
    page_port: int | None = DEFAULT_PAGE_PORT
    page_hosts: tuple[str, ...] = ()
    tls: TlsFiles | None = None
    protocol: Literal["3.1.1", "5"] = "3.1.1"

    @property
    def is_synthetic(self) -> bool:
        """Whether the series or the plant are not real; every output states it."""
        return self.has_synthetic_series or self.is_simulated
