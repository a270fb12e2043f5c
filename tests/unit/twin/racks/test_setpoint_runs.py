"""Racks of a run with ordered water set points agree with the run."""

import numpy as np
import pytest

import sites
from tests.support.runs import steady
from twin.errors import StateError
from twin.racks import view
from twin.relations import SetPoints
from twin.simulation import state
from twin.simulation.setpoints import SET_POINT_VARIABLES, set_point_variables
from twin.simulation.simulate import simulate, simulate_in_chunks

SITE = sites.load_site("small")
COUNT = 12


def set_point_operation(**fields):
    return steady(SITE, count=COUNT, share=0.6).assign(set_point_variables(SetPoints(**fields)))


def moved():
    """Return an operation with a narrower and then a wider range of both waters."""
    half = np.repeat([1.0, 1.5], COUNT // 2)
    return set_point_operation(
        supply_temperature={"warm_plant": np.linspace(38.0, 40.0, COUNT)},
        temperature_range={"warm_plant": 10.0 * half},
        technology_range={"cdu_1": 10.0 * half[::-1]},
    )


def beside(run, operation):
    """Return a run with its ordered set points."""
    return run.assign({word: operation[word] for word in SET_POINT_VARIABLES})


def assert_alike(run, racks):
    """Coolant and pumps behind every interval's end are those of the run."""
    last = racks.isel(time=slice(14, None, 15))
    coolant = last["technology_supply_temperature"].mean("unit").to_numpy()
    wanted = run["technology_supply_temperature"].isel(cdu=0).to_numpy()
    assert coolant == pytest.approx(wanted, abs=0.1)
    pumps = last["cdu_pump_power"].sum("unit").to_numpy()
    assert pumps == pytest.approx(run["cdu_pump_power"].isel(cdu=0).to_numpy(), rel=0.06)


def test_racks_have_the_coolant_of_ordered_ranges():
    """Proves: with set points beside the run, its coolant and pumps are found at the racks.

    Sensitivity: at the declared ranges the coolant was up to 4 K off.
    """
    operation = moved()
    run = simulate(SITE, state.initial_state(SITE), operation)
    racks = view.view(SITE, beside(run, operation), level="rack")
    assert_alike(run, racks)
    assert float(racks["closure"].max()) < 1e-6
    part = slice("2026-07-01T01:20", "2026-07-01T01:40")  # both ways of running it are in there
    alone = view.view(SITE, beside(run, operation), level="rack", time=part)
    again = racks.sel(time=alone["time"])["chip_temperature"]
    assert alone["chip_temperature"].to_numpy() == pytest.approx(again.to_numpy(), abs=1e-4)


def test_run_without_its_set_points_is_refused():
    run = simulate(SITE, state.initial_state(SITE), moved())
    with pytest.raises(StateError, match="inconsistent"):
        view.view(SITE, run, level="rack")


def test_supply_temperature_alone_needs_no_set_points():
    operation = moved().drop_vars(["facility_range_set_point", "technology_range_set_point"])
    run = simulate(SITE, state.initial_state(SITE), operation)
    assert_alike(run, view.view(SITE, run, level="rack"))


def test_spans_carry_their_set_points():
    operation = moved()
    spans = list(simulate_in_chunks(SITE, state.initial_state(SITE), operation, chunk_size=5))
    whole = beside(simulate(SITE, state.initial_state(SITE), operation), operation)
    racks = view.view(SITE, whole, level="rack")
    found = list(view.view_blocks(SITE, spans))
    hot = np.concatenate([block["chip_temperature"].to_numpy() for block in found])
    assert hot == pytest.approx(racks["chip_temperature"].to_numpy(), abs=1e-3)


def test_water_reaches_the_racks_after_its_delay():
    """Proves: where much of a loop's water is under way, racks see it late, as the run does."""
    plant = SITE.equipment["warm_plant"]
    loop = plant.loop.model_copy(update={"volume": 120.0, "supply_share": 0.8})
    site = SITE.with_equipment(
        SITE.equipment | {plant.name: plant.model_copy(update={"loop": loop})}
    )
    operation = steady(site, count=COUNT, share=0.2, air=38.0)
    operation["hall_power"][COUNT // 2 :] *= 5.0
    run = simulate(site, state.initial_state(site), operation)
    away = run["facility_supply_temperature"] - run["facility_arriving_temperature"]
    assert float(away.sel(circuit="warm_plant").max()) > 0.5
    assert_alike(run, view.view(site, run, level="rack"))
