"""Tables, inputs and state of both ways of a view, as bare arrays."""

from pathlib import Path

import numpy as np
import xarray as xr
from numcodecs import blosc

from benchmarks.bare import racks as bare
from twin.equipment import ITHall
from twin.racks import rack_series
from twin.racks.layout import RackLayout
from twin.racks.rack_series import ViewWindow
from twin.simulation.engine import SimulationArrays

SPELL = np.timedelta64(15, "m")
BLOCK = 2880  # steps that are written at once


def table_of(layout: RackLayout, hours: float) -> tuple:
    """Return places, racks and units for the bare kernel."""
    hall, halls, unit = layout.places.hall_of_rack, layout.hall_table, layout.cdu_table
    return (
        layout.places.first_rack,
        hall,
        *(column[hall] for column in (halls.idle_power, halls.power_span, halls.liquid_share)),
        unit.knots_per_mw,
        unit.pump_power,
        unit.capacity_rate,
        unit.heat_per_kelvin,
        unit.rack_capacity / hours,
        unit.cdu_capacity / hours,
        halls.resistance,
    )


def outside_of(layout: RackLayout, result: xr.Dataset, window: ViewWindow, seed: int = 0) -> tuple:
    """Return work, water and quarter-hour of each step, and the seed."""
    drive = rack_series._rack_inputs(layout, result, window, seed=seed)
    spell = (window.edges[:-1] - np.datetime64(0, "us")) // SPELL
    return drive.work_share, drive.facility_water, spell, seed


class Pieces:
    """A file of pieces of an array, pressed as our own store presses them."""

    codec = blosc.Blosc(cname="lz4", clevel=1, shuffle=blosc.SHUFFLE)

    def __init__(self, path: Path) -> None:
        self.path, self.sizes = path, []
        self.file = path.open("wb")

    def write(self, piece: np.ndarray) -> None:
        pressed = self.codec.encode(piece)
        self.file.write(pressed)
        self.sizes.append((len(piece), len(pressed)))

    def close(self) -> None:
        self.file.close()

    def rows(self, wanted: np.ndarray, kind: type) -> np.ndarray:
        """Return some rows of the whole."""
        found, first = [], 0
        with self.path.open("rb") as file:
            for count, size in self.sizes:
                own = wanted[(wanted >= first) & (wanted < first + count)] - first
                pressed = file.read(size)
                if own.size:
                    piece = np.frombuffer(self.codec.decode(pressed), kind)
                    found.append(piece.reshape(count, -1)[own])
                first += count
        return np.concatenate(found)


class Racks:
    """The bare kernel, the state of its racks, and the files that it fills."""

    def __init__(
        self, layout: RackLayout, hours: float, folder: Path, packed: dict[str, tuple[type, int]]
    ) -> None:
        self.layout, self.hours = layout, hours
        hall = layout.places.hall_of_rack
        self.table = table_of(layout, hours)
        halls = layout.hall_table
        self.chips = halls.knots_per_mw[hall], halls.chip_temperature_rise, layout.cdu_of_rack
        self.still = table_of(layout, 1e9)  # a step for ever
        self.state: tuple[np.ndarray, np.ndarray] | None = None
        self.files = [Pieces(folder / name) for name in packed]
        self.room = [
            np.empty((BLOCK, width) if name != "closure" else BLOCK, kind)
            for name, (kind, width) in packed.items()
        ]

    def follow(self, found: SimulationArrays, starts: np.ndarray) -> None:
        """Follow racks and units through a span of a run at their own step, and write."""
        layout, count = self.layout, len(starts)
        water = found.states["facility_supply_temperature", layout.facility_plant.name][1:]
        share = np.stack([_work(found, hall) for hall in layout.halls], axis=1)
        spell = (starts - np.datetime64(0, "us")) // SPELL
        if self.state is None:
            self.state = np.zeros(layout.rack_count), np.zeros(layout.cdu_count)
            first = share[:1], water[:1], spell[:1], 0
            bare.follow(self.still, self.chips, first, self.state, tuple(self.room))
        for begin in range(0, count, BLOCK):
            part = slice(begin, begin + BLOCK)
            outside = share[part], water[part], spell[part], 0
            bare.follow(self.table, self.chips, outside, self.state, tuple(self.room))
            for file, room in zip(self.files, self.room, strict=True):
                file.write(room[: len(water[part])])

    def close(self) -> None:
        """Have all on disk."""
        for file in self.files:
            file.close()


def _work(found: SimulationArrays, hall: ITHall) -> np.ndarray:
    idle, full = hall.idle_power, hall.full_power
    return (found.flows["hall_power", hall.name] - idle) / (full - idle)
