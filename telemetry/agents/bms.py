"""The building-management system of a simulated plant: it tells its points and hears requests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telemetry import topics
from telemetry.agents.requests import Requests
from telemetry.codec import encode
from telemetry.metadata.listing import Listed, list_points, racks_of
from telemetry.metadata.points import BMS, INTEGRATION, RACK, SYSTEM
from telemetry.metadata.units import UNITS
from telemetry.plants.nature import Noise
from telemetry.samples import PointValue
from twin import vocabulary
from twin.equipment import Accelerators
from twin.physics import FloatArray
from twin.run import Key
from twin.site import Site

BANDS: Final[dict[str, tuple[float, float]]] = {
    "kW": (0.5, 0.001),
    "C": (0.15, 0.0),
    "%": (0.1, 0.0),
    "kg/s": (0.1, 0.005),
    "LPM": (0.5, 0.01),
}
"""Unit on the wire -> change that is told: absolute in this unit, and share of the value."""

MANY: Final[dict[str, tuple[float, float]]] = {"kW": (1.0, 0.01), "C": (0.3, 0.0)}
"""The same for racks and units of banks, of which there are many."""

FLOW_ERROR: Final = 0.005
"""Standard error of flow meters, a share. [1]"""

HUMIDITY_ERROR: Final = 1.0
"""Standard error of the hygrometer. [%]"""

EXACT: Final = ("peak_power",)
"""Readings that are counted and not measured."""

_MILLISECOND: Final = np.timedelta64(1, "ms")

type Message = tuple[str, bytes]
"""A topic and its payload."""


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """What is fixed about the points, an array a property."""

    factor: FloatArray
    offset: FloatArray
    error: FloatArray
    error_share: FloatArray
    band: FloatArray
    band_share: FloatArray


class Bms:
    """The building-management system.

    Parameters
    ----------
    site
        The site.
    requests
        Where requests are checked and kept.
    rng
        Source of the sensors' errors.
    noise
        How badly the plant is measured.
    repeat
        Readings within which every point is told again, changed or not. [1]
    """

    def __init__(
        self,
        site: Site,
        requests: Requests,
        *,
        rng: np.random.Generator,
        noise: Noise,
        repeat: int,
    ) -> None:
        self._rng, self._requests, self._repeat = rng, requests, repeat
        self._listed = list(list_points(site))
        self._columns = _columns(site, self._listed, noise)
        self._machines: dict[Key, tuple[list[int], str]] = {}
        self._racks: dict[str, tuple[list[int], list[int]]] = {}
        self._heads: list[str] = []
        self._ours: dict[str, tuple[Key, int]] = {}
        self._index(site)
        self._last = np.full(len(self._listed), np.nan)
        self._turn = 0
        self._echo: float | None = None

    def _index(self, site: Site) -> None:
        """Note where the values of each machine and rack stand."""
        racks = [rack for hall in site.of(Accelerators) for rack in racks_of(hall)]
        numbers = {rack: number for number, rack in enumerate(racks)}
        for place, listed in enumerate(self._listed):
            meaning, point = listed.meaning, listed.metadata.point
            self._heads.append(topics.point_value(point))
            if meaning.is_ours:
                owner = listed.label if listed.machine else meaning.owner
                self._ours[point] = (meaning.variable, owner), place
            elif meaning.object_type == RACK:
                places, which = self._racks.setdefault(meaning.variable, ([], []))
                places.append(place)
                which.append(numbers[listed.label])
            elif meaning.object_type != SYSTEM:
                key = meaning.variable, listed.machine
                self._machines.setdefault(key, ([], meaning.negative))[0].append(place)

    def metadata(self, *, share: int = 1) -> list[Message]:
        """Return what points are, to be published retained.

        Parameters
        ----------
        share
            One part in so many, another part with every reading; 1 is all. [1]
        """
        return [encode(listed.metadata) for listed in self._listed[self._turn % share :: share]]

    def values(
        self,
        machines: Mapping[Key, float],
        racks: Mapping[str, FloatArray],
        *,
        time: np.datetime64,
        is_whole: bool = False,
    ) -> list[Message]:
        """Return the points that have changed, and those whose turn it is to be told again.

        Parameters
        ----------
        machines
            (word, machine) -> true value in the word's unit.
        racks
            Word -> true value of each rack.
        time
            When the sensors are read. [datetime64, UTC]
        is_whole
            Whether all points are told.
        """
        seen = self._seen(machines, racks)
        columns = self._columns
        band = np.maximum(columns.band, columns.band_share * np.abs(self._last))
        is_due = ~(np.abs(seen - self._last) <= band)  # also where nothing was told yet
        is_due |= np.arange(len(seen)) % self._repeat == self._turn % self._repeat
        told = np.flatnonzero((is_due | is_whole) & np.isfinite(seen))
        self._last[told] = seen[told]
        self._turn += 1
        return self._told(told, time)

    def again(self, time: np.datetime64) -> list[Message]:
        """Return all points as they were told last: somebody may not have heard them.

        Parameters
        ----------
        time
            Now. [datetime64, UTC]
        """
        return self._told(np.flatnonzero(np.isfinite(self._last)), time)

    def _told(self, places: NDArray[np.int64], time: np.datetime64) -> list[Message]:
        """Return points as they were told last."""
        end = f',"timestamp":{_stamp(time)},"quality":1}}'
        return [
            (self._heads[place], f'{{"value":{value:.7g}{end}'.encode())
            for place, value in zip(places.tolist(), self._last[places].tolist(), strict=True)
        ]

    def _seen(self, machines: Mapping[Key, float], racks: Mapping[str, FloatArray]) -> FloatArray:
        """Return all points as the sensors show them, in their units on the wire."""
        true = np.full(len(self._listed), np.nan)
        for key, (places, negative) in self._machines.items():
            true[places] = machines.get(key, np.nan) - machines.get((negative, key[1]), 0.0)
        for variable, (places, which) in self._racks.items():
            true[places] = racks[variable][which]
        columns = self._columns
        wire = (true - columns.offset) / columns.factor
        scatter = self._rng.standard_normal(len(wire))
        return np.asarray(wire + scatter * (columns.error + columns.error_share * np.abs(wire)))

    def hear(self, value: PointValue, *, now: np.datetime64) -> str:
        """Take a value that an integration has written.

        Parameters
        ----------
        value
            What was written.
        now
            The plant's time. [datetime64, UTC]

        Returns
        -------
        str
            Why it was refused, or "".
        """
        ours = self._ours.get(value.point)
        if ours is None or value.sender != INTEGRATION:
            self._requests.refused += 1
            return f"{value.sender} may not write {value.point}"
        key, place = ours
        if key[0].startswith("service_heartbeat"):
            self._requests.beat(now)
            if key[0] == "service_heartbeat":
                self._echo = value.value
            return ""
        asked = value.value
        if asked is not None:
            asked = float(asked * self._columns.factor[place] + self._columns.offset[place])
        return self._requests.ask(key, asked, now=now)

    def heartbeat(self, time: np.datetime64) -> list[Message]:
        """Return our clock, and the echo of the integration's if it was heard."""
        clocks = {BMS: _stamp(time), INTEGRATION: self._echo}
        found = []
        for listed in self._listed:
            meaning = listed.meaning
            if meaning.object_type == SYSTEM and not meaning.is_ours:
                value = clocks[meaning.owner]
                if value is not None:
                    point = listed.metadata.point
                    found.append(encode(PointValue(point=point, time=time, value=value)))
        return found


def _stamp(time: np.datetime64) -> int:
    return int((time - np.datetime64(0, "us")) // _MILLISECOND)


def _columns(site: Site, listed: list[Listed], noise: Noise) -> _Columns:
    rows: list[tuple[float, ...]] = []
    for point in listed:
        meaning, unit = point.meaning, point.meaning.unit
        share = 1.0
        canonical = vocabulary.term(meaning.variable).unit if unit else "ms"
        if meaning.share_of:
            share, canonical = getattr(site.equipment[point.machine], meaning.share_of), "1"
        factor, offset = UNITS[unit, canonical]
        bands = BANDS if point.label == point.machine else BANDS | MANY
        band = (0.0, 0.0) if meaning.is_setpoint else bands.get(unit, (0.0, 0.0))
        rows.append((factor * share, offset, *_errors(point, noise), *band))
    columns: NDArray[np.float64] = np.array(rows).T
    names = ("factor", "offset", "error", "error_share", "band", "band_share")
    return _Columns(**dict(zip(names, columns, strict=True)))


def _errors(point: Listed, noise: Noise) -> tuple[float, float]:
    """Return the standard error of a sensor in its unit, and as a share of its reading."""
    meaning = point.meaning
    if meaning.is_setpoint or not meaning.unit or meaning.variable in EXACT:
        return 0.0, 0.0
    if meaning.share_of:
        return noise.level / UNITS["%", "1"][0], 0.0
    return {
        "kW": (0.0, noise.power),
        "C": (noise.temperature, 0.0),
        "%": (HUMIDITY_ERROR, 0.0),
    }.get(meaning.unit, (0.0, FLOW_ERROR))
