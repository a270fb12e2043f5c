"""Sites small enough to be solved by hand, and problems on them.

A connection, a lossless line to the bus, a lossless feeder to the racks, cooling for nothing. Ten
racks of 1 MW that draw nothing while they wait. No margins, no fees, no carbon price.
"""

from typing import Any, ClassVar

import numpy as np
import xarray as xr

from optimizer.planner.planner import solve_problem
from optimizer.problem.problem import Problem
from twin import time_axes, variables
from twin.equipment import Battery, ChilledWaterTank, Equipment, GridConnection, ITHall
from twin.relations import (
    Conversion,
    ConversionFlows,
    Exchange,
    Store,
    SwitchableUnits,
    UnitCharacteristics,
)
from twin.simulation import state
from twin.site import Site
from twin.site_settings import (
    InferenceService,
    ObjectiveWeights,
    SafetyMargins,
    Throughput,
    WorkKind,
)

START = time_axes.to_utc("2026-07-01")
PLAIN = Throughput(power_points=(0.5, 1.0), work_points=(0.5, 1.0))
BENT = Throughput(power_points=(0.5, 1.0), work_points=(0.8, 1.0))
"""Half the power gives four fifths of the work."""


class Given(Equipment):
    """A machine that consists only of its relations."""

    kind: ClassVar[str] = "given"
    given: tuple[Any, ...]

    def relations(self):
        return self.given


class Vessel(ChilledWaterTank):
    """A tank of round numbers."""

    capacity_given: float = 0.0

    @property
    def capacity(self):
        return self.capacity_given

    def relations(self):
        store = Store(
            owner=self.name,
            carrier="air",
            min_level=0.0,
            max_level=self.capacity_given,
            charge_limit=self.power,
            discharge_limit=self.power,
        )
        return (store,)


def machine(name, output, *, draws, limit=1000.0, units=None):
    """Return a conversion; ``draws`` maps carriers to functions of the output."""

    def physics(q, _):
        drawn = {carrier: np.asarray(draw(q), dtype=float) for carrier, draw in draws.items()}
        return ConversionFlows(inputs=drawn, heat=0.0 * q)

    convert = Conversion(
        owner=name,
        output_carrier=output,
        primary_input=next(iter(draws)),
        input_carriers=tuple(draws),
        max_output=lambda weather: np.full(len(weather), limit),
        flows_at_output=physics,
        switchable_units=units,
    )
    return Given(name=name, given=(convert,))


def units(count=1, *, least=0.0, most, free=0.0, spare_draw=0.0, short_draw=0.0, **rules):
    """Return units, each with a smallest and a largest output."""

    def running(weather):
        given = {
            "economiser_output": free,
            "min_output": least,
            "optimal_output": most,
            "max_output": most,
            "extra_power_one_unit_more": spare_draw,
            "extra_power_one_unit_less": short_draw,
        }
        return UnitCharacteristics(
            **{name: np.full(len(weather), value) for name, value in given.items()}
        )

    return SwitchableUnits(count=count, characteristics=running, **rules)


def through(q):
    return q


def source(name="sun", *, power=100.0, price=0.0):
    exchange = Exchange(
        owner=name,
        carrier="medium_voltage",
        import_limit=power,
        availability_variable="renewable_available_power",
        import_fee=price,
    )
    return Given(name=name, given=(exchange,))


def battery(*, capacity=4.0, power=1.0, efficiency=1.0, wear_price=0.0):
    return Battery.model_construct(
        name="battery",
        capacity=capacity,
        power=power,
        charge_efficiency=efficiency,
        discharge_efficiency=efficiency,
        wear_price=wear_price,
    )


def tank(*, capacity, power):
    return Vessel.model_construct(name="tank", power=power, capacity_given=capacity)


def kind(name="batch", *, throughput=PLAIN, tolerance=0.0, pause_loss=0.0):
    return WorkKind.model_construct(
        name=name,
        throughput=throughput,
        tolerance=tolerance,
        pause_loss=pause_loss,
        minimum_run=0.0,
    )


def grid(*, import_limit=100.0, export_limit=0.0, ramp=1000.0, peak_price=0.0):
    return GridConnection.model_construct(
        name="grid",
        import_limit=import_limit,
        export_limit=export_limit,
        ramp=ramp,
        peak_price=peak_price,
    )


def site(*others, connection=None, work=None, margins=None, **replaced):
    """Return a site of simple machines, some replaced by name, with additional ones."""
    hall = ITHall.model_construct(
        name="hall", racks=10, rack_power=1.0, rack_idle_power=0.0, liquid_share=0.0
    )
    plain = {
        "grid": connection or grid(),
        "line": machine("line", "medium_voltage", draws={"grid": through}),
        "feeder": machine("feeder", "rack", draws={"medium_voltage": through}),
        "cooler": machine("cooler", "air", draws={"medium_voltage": lambda q: 0.0 * q}),
        "hall": hall,
    }
    equipment = plain | replaced | {one.name: one for one in others}
    return Site.model_construct(
        name="hand",
        zone="hand",
        time_zone="UTC",
        latitude=0.0,
        longitude=0.0,
        elevation=0.0,
        equipment=equipment,
        work={one.name: one for one in work or [kind()]},
        service=InferenceService.model_construct(racks=0.0),
        weights=ObjectiveWeights(lateness="100 EUR/MWh"),
        margins=margins
        or SafetyMargins.model_construct(power=0.0, peak=0.0, temperature=0.0, level=0.0),
    )


def outlook(prices, *, hours=1.0, service=0.0, jobs=(), sun=None, terminal=0.0, carbon=0.0):
    """Return an outlook; ``jobs`` are tuples (kind, least, most, racks), cumulated from START."""
    count = len(prices)
    edges = START + (np.arange(count + 1) * round(hours * 60)).astype("timedelta64[m]")
    names = [name for name, *_ in jobs] or ["batch"]
    least = [[0.0, *least] for _, least, _, _ in jobs] or [np.zeros(count + 1)]
    most = [[0.0, *most] for _, _, most, _ in jobs] or [np.zeros(count + 1)]
    racks = [np.full(count, racks) for *_, racks in jobs] or [np.zeros(count)]
    over = {
        "electricity_price": prices,
        "carbon_intensity": np.broadcast_to(carbon, count),
        "air_temperature": np.full(count, 15.0),
        "relative_humidity": np.full(count, 0.5),
        "air_pressure": np.full(count, 101.3),
        "service_racks": np.broadcast_to(service, count),
    }
    variables_ = {name: ("time", np.asarray(values, float)) for name, values in over.items()}
    variables_["work_least"] = ("instant", "cohort"), np.array(least, float).T
    variables_["work_most"] = ("instant", "cohort"), np.array(most, float).T
    variables_["work_racks_limit"] = ("time", "cohort"), np.array(racks, float).T
    variables_["terminal_price"] = (), terminal
    coords = {"cohort": [f"{name}/{i}" for i, name in enumerate(names)], "kind": ("cohort", names)}
    if sun is not None:
        variables_["renewable_available_power"] = ("time", "renewable"), np.array([sun], float).T
        coords["renewable"] = ["sun"]
    return variables.tag_dataset(
        time_axes.interval_axes(edges).assign(variables_).assign_coords(coords)
    )


def cut(ahead, minutes):
    """Return an outlook whose intervals have other lengths, one after the other. [min]"""
    edges = START + np.cumsum([0, *minutes]).astype("timedelta64[m]")
    data = {name: (values.dims, values.to_numpy()) for name, values in ahead.data_vars.items()}
    fixed = {
        name: values
        for name, values in ahead.coords.items()
        if not {"time", "instant"} & set(values.dims)
    }
    again = {**data, "duration": ("time", np.array(minutes) / 60.0)}
    return variables.tag_dataset(time_axes.interval_axes(edges).assign(again).assign_coords(fixed))


def problem(
    where, ahead, *, level=0.0, peak=0.0, usual=0.0, before=0.0, past_units=None, **weights
):
    now = ahead["instant"].to_numpy()[0]
    start = state.initial_state(
        where, now, level=level, peak_power=peak, mean_weekly_import=usual, grid_import_power=before
    )
    return Problem(where, start, ahead, weights=weights, past_units=past_units or {})


def solved(where, ahead, **settings):
    return solve_problem(problem(where, ahead, **settings))


def unlabelled(dataset: xr.Dataset, name: str, values: object) -> xr.Dataset:
    """Return a dataset with other values of one variable, its labels and unit kept."""
    return dataset.assign({name: dataset[name].copy(data=np.asarray(values, float))})
