"""Channels of the electrical chain: racks, busbars, the bus and its feeds, batteries."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twin.calibration.channel import METER, Channel, Offsets, drawn, liquid_heat, machine_of
from twin.calibration.history import DAY, History
from twin.calibration.water import Water
from twin.equipment import (
    Accelerators,
    Battery,
    Cdu,
    CoolingPlant,
    Distribution,
    Equipment,
    Genset,
    HallAir,
    HeatReuse,
    Renewable,
    Switchgear,
    Transformer,
    Ups,
)
from twin.physics import FloatArray
from twin.relations import Convert
from twin.site import Site

LEVEL: Final = 0.003
"""First guess at the standard error of a battery's level, a share of its capacity. [1]"""

PASSES: Final = 3
"""Passes from the input of a feed to its output: its loss is below 1 %. [1]"""

HOURS: Final = 0.25
"""Length of a quarter-hour. [h]"""


def electrical(site: Site, history: History, held: Water) -> Iterator[Channel]:
    """Yield the channels of the electrical chain, at what the water was held at."""
    for hall in site.of(Accelerators):
        yield _hall(hall, history)
    yield _busbar(site, history)
    yield _critical(site, history, held)
    for battery in site.of(Battery):
        yield _battery(battery, history)


def _hall(hall: Accelerators, history: History) -> Channel:
    """Return the draw of a hall beside that of its racks at work."""
    name = hall.name
    use = history.get("accelerator_utilisation", name)
    declared = use * (hall.full_power - hall.idle_power)
    observed = history.get("hall_power", name)

    def expect(tuned: Site, _: Offsets) -> FloatArray:
        machine = machine_of(tuned, name, Accelerators)
        return machine.idle_power + machine.power_factor_error * declared

    return Channel(
        name=f"hall_power.{name}",
        machines=(name,),
        observed=np.where(np.isfinite(use), observed, np.nan),
        error=METER * (observed + hall.idle_power),
        expect=expect,
    )


def _busbar(site: Site, history: History) -> Channel:
    """Return the medium-voltage bus: what comes in and is not measured is lost in the UPS."""
    banks = site.of(Ups)
    outputs = {bank.name: history.get("ups_output", bank.name) for bank in banks}
    into = history.total("cooling_plant_draw", site.of(CoolingPlant))
    into = into + history.total("heat_reuse_draw", site.of(HeatReuse))
    into = into + history.total("battery_charge", site.of(Battery))
    out = history.total("battery_discharge", site.of(Battery))
    out = out + history.total("renewable_used_power", site.of(Renewable))
    told = "genset_output" if history.owners("genset_output") else "genset_power"
    metered = history.owners(told)  # gensets that nobody meters are taken to rest
    out = out + history.total(told, (g for g in site.of(Genset) if g.name in metered))
    given = sum(outputs.values(), np.zeros(history.count))
    observed = _behind_feeds(site, history)

    def expect(tuned: Site, _: Offsets) -> FloatArray:
        losses = [
            drawn(machine_of(tuned, name, Ups), output, history, carrier="medium_voltage")
            for name, output in outputs.items()
        ]
        return np.asarray(np.sum(losses, axis=0) + into - out)

    squares = observed**2 + given**2 + into**2 + out**2
    return Channel(
        name="medium_voltage",
        machines=tuple(outputs),
        observed=observed,
        error=METER * np.sqrt(squares),
        expect=expect,
    )


def _behind_feeds(site: Site, history: History) -> FloatArray:
    """Return the power that reaches the bus, by the meters nearest to it or the connection's."""
    feeds: list[Equipment] = []
    for name, machines in (
        ("switchgear_output", site.of(Switchgear)),
        ("transformer_output", site.of(Transformer)),
    ):
        measured = history.total(name, machines)
        if machines and np.isfinite(measured).any():
            return _behind(feeds, measured, history)
        feeds = [*machines, *feeds]
    exported = history.get("grid_export_power")
    net = history.get("grid_import_power") - (exported if np.isfinite(exported).any() else 0.0)
    return _behind(feeds, net, history)


def _behind(feeds: Sequence[Equipment], given: FloatArray, history: History) -> FloatArray:
    """Return what feeds on end let through of what they are given. [MW]"""
    for machine in feeds:
        (convert,) = (r for r in machine.relations() if isinstance(r, Convert))
        output = given
        for _ in range(PASSES):
            output = given - (drawn(machine, output, history, carrier=convert.lead) - output)
        given = output
    return given


def _critical(site: Site, history: History, held: Water) -> Channel:
    """Return the critical bus: what the UPS gives beside the racks is for the CDUs' pumps."""
    observed = history.total("ups_output", site.of(Ups))
    halls = history.total("hall_power", site.of(Accelerators))
    fans = history.total("hall_air_draw", site.of(HallAir))
    liquid = liquid_heat(site, history)

    def expect(tuned: Site, _: Offsets) -> FloatArray:
        power = halls
        for machine in tuned.of(Distribution):
            power = drawn(machine, power, history, carrier="critical")
        pumps = [
            drawn(bank, liquid, history, carrier="critical", points=held.points)
            for bank in tuned.of(Cdu)
        ]
        return np.asarray(power + fans + sum(pumps, np.zeros(history.count)))

    banks = tuple(bank.name for bank in site.of(Cdu))
    return Channel(
        name="critical",
        machines=banks,
        observed=held.known(observed, banks),
        error=METER * np.hypot(observed, halls),
        expect=expect,
    )


def _battery(battery: Battery, history: History) -> Channel:
    """Return the level of a battery, day after day from wherever it stood."""
    name = battery.name
    charge, discharge = (history.get(f"battery_{way}", name) for way in ("charge", "discharge"))
    level = history.get("battery_level", name)
    days = np.arange(history.count) // DAY

    def expect(tuned: Site, _: Offsets) -> FloatArray:
        machine = machine_of(tuned, name, Battery)
        gain = machine.charge_efficiency * charge - discharge / machine.discharge_efficiency
        gain = HOURS * (gain - machine.standing_loss * np.nan_to_num(level))
        return _anchored(gain, level, days)

    return Channel(
        name=f"battery_level.{name}",
        machines=(name,),
        observed=level,
        error=np.full(history.count, LEVEL * battery.capacity),
        expect=expect,
    )


def _anchored(gain: FloatArray, level: FloatArray, days: NDArray[np.int64]) -> FloatArray:
    """Return the levels that gains lead to [MWh], in each day from where they fit best.

    A gap in the gains begins a new stretch, as midnight does.
    """
    is_gap = np.isnan(gain)
    stretch = np.cumsum(is_gap | (np.diff(days, prepend=days[0]) > 0))
    known = np.nan_to_num(gain)
    course = np.cumsum(known) - 0.5 * known  # in the middle of the quarter-hour, as means are
    off = np.where(is_gap, np.nan, level - course)
    is_read = np.isfinite(off)
    sums = np.bincount(stretch[is_read], off[is_read], minlength=stretch[-1] + 1)
    counts = np.bincount(stretch[is_read], minlength=stretch[-1] + 1)
    start = sums / np.maximum(counts, 1)
    return np.where(is_gap, np.nan, course + start[stretch])
