"""Live values of the page: the newest readings, sent each second to all who look at it.

They wait for no decision and take no lock of the service. One reader serves all viewers while there
are any. A viewer who reads slowly misses values, and one who reads nothing is disconnected by the
server, so none delays another.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

import numpy as np
import structlog
import xarray as xr
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from optimizer.service.status import LinkState, LiveStatus, LiveValue, render_json
from optimizer.service.status_view import (
    DISPLAYED_DECIMALS,
    limited_temperatures,
    temperature_label,
)
from telemetry.live.state import GRID_POWER_VARIABLES
from twin.site import Site
from twin.units import format_second
from twin.variables import net_import

logger = structlog.get_logger(__name__)

STORE_LEVELS: Final = ("battery_level", "tank_level")
"""Variables whose sum over all stores is shown."""


class LiveValues:
    """The newest reading of each quantity; a silent one keeps its last good value."""

    def __init__(self, site: Site) -> None:
        self._temperatures = limited_temperatures(site)
        self._last: dict[str, float] = {}

    def read(
        self,
        observed: xr.Dataset,
        now: np.datetime64,
        *,
        link: LinkState,
        silence_s: float | None,
    ) -> list[LiveValue]:
        """Return the live values.

        - `observed`: newest good readings at ``now``, as :meth:`LiveState.latest_values` returns
          them.
        - `silence_s`: time since the last message of a plant whose clock stands still meanwhile;
          None with a real clock. [s]
        """
        found = []
        for name, value, age_s, unit in self._readings(observed):
            is_good = bool(np.isfinite(value))
            if is_good:
                self._last[name] = round(value, DISPLAYED_DECIMALS)
            is_known = name in self._last
            found.append(
                LiveValue(
                    name=name,
                    value=self._last.get(name),
                    unit=unit,
                    time=format_second(now - np.timedelta64(round(age_s), "s"))
                    if is_known
                    else None,
                    age_s=round(max(age_s, silence_s or 0.0), 1) if is_known else None,
                    is_stale=not is_good or link is not LinkState.CONNECTED,
                )
            )
        return found

    def _readings(self, observed: xr.Dataset) -> Iterator[tuple[str, float, float, str]]:
        """Yield name, value, age in seconds and unit of each quantity."""
        ages = [observed[f"{name}_age"] for name in GRID_POWER_VARIABLES]
        yield "grid_power", float(net_import(observed)), _oldest(*ages), "MW"
        for name in STORE_LEVELS:
            if name in observed and observed[name].size:
                level = float(observed[name].sum(skipna=False))
                yield name, level, _oldest(observed[f"{name}_age"]), "MWh"
        for limit in self._temperatures:
            if limit.variable in observed:
                place = {limit.dimension: limit.owner} if limit.dimension else {}
                value = float(observed[limit.variable].sel(place).mean(skipna=False))
                age_s = _oldest(observed[f"{limit.variable}_age"].sel(place))
                yield temperature_label(limit), value, age_s, "degC"


def _oldest(*ages: xr.DataArray) -> float:
    """Return the largest age of those sensors that were ever heard; 0 without any. [s]"""
    known = [float(age) for array in ages for age in np.ravel(array) if np.isfinite(age)]
    return max([0.0, *known])


LIVE_PERIOD_S: Final = 1.0
"""Time between two events of a stream. [s]"""

MAX_LIVE_VIEWERS: Final = 64
"""Open streams; further viewers poll the state only. [1]"""


class LiveStream:
    """Events for all viewers; of the event loop only, except ``read``, which a worker calls."""

    def __init__(self, read: Callable[[], LiveStatus]) -> None:
        self._read = read
        self._event = b""
        self._next = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self.viewer_count = 0
        self.is_closed = False

    @property
    def is_full(self) -> bool:
        """Whether there are as many viewers as are permitted."""
        return self.viewer_count >= MAX_LIVE_VIEWERS

    def close(self) -> None:
        """End all streams: the server stops."""
        self.is_closed = True
        self._next.set()

    async def events(self) -> AsyncIterator[bytes]:
        """Yield each event as text of server-sent events, the newest only to a slow reader."""
        yield b"retry: 2000\n\n"
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._publish())
        elif self._event:
            yield self._event
        while not self.is_closed:
            await self._next.wait()
            if not self.is_closed:
                yield self._event

    async def _publish(self) -> None:
        """Read and publish once a period, while anybody looks."""
        while self.viewer_count and not self.is_closed:
            try:
                status = await run_in_threadpool(self._read)
            except Exception:  # the viewers see that the last event grows old
                logger.exception("no live values")
            else:
                self._event = b"data: " + render_json(status) + b"\n\n"
                news, self._next = self._next, asyncio.Event()
                news.set()
            await asyncio.sleep(LIVE_PERIOD_S)
        self._event = b""


class LiveResponse(StreamingResponse):
    """Stream of events to one viewer."""

    media_type = "text/event-stream"

    def __init__(self, stream: LiveStream) -> None:
        super().__init__(stream.events())
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the viewer leaves or the server stops."""
        self._stream.viewer_count += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stream.viewer_count -= 1
