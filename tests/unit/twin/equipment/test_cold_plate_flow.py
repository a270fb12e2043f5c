"""Cold plates get the coolant flow of the CDUs: less flow makes warmer chips."""

import numpy as np
import pytest

import sites
from sites.checks import site_issues
from tests.support.runs import steady
from twin import variables
from twin.equipment import CduBank, ITHall
from twin.racks.view import view
from twin.simulation import state
from twin.simulation.simulate import simulate

SITE = sites.load_site("small")
BANK = SITE.machines_of(CduBank)[0]
HALL = SITE.machines_of(ITHall)[0]

CALM = 30.46
"""1,198 W of a chip at half of 1.8 l/min, where R is .02543 K/W (.02086 at 1.8: 24.99). [K]"""


def calm_run(share=0.3, **orders):
    return simulate(
        SITE, state.initial_state(SITE), steady(SITE, count=4, share=share).assign(**orders)
    )


def test_chips_get_the_coolant_flow_of_the_cdus():
    """Proves: at 0.3 of the work the flow is at its least, 0.5: 30.46 K above the coolant.

    Sensitivity: 24.99 K where the plates keep their declared flow.
    """
    done = calm_run()
    above = done["full_load_chip_temperature"] - done["technology_supply_temperature"].sel(
        cdu=BANK.name
    )
    assert above.to_numpy() == pytest.approx(CALM, abs=0.01)


def test_ordering_the_declared_range_changes_only_the_flow():
    """Proves: ordered or not, at full work, where no least flow binds, chips are equally warm."""
    plain = calm_run(share=1.0)
    span = np.full((4, 1), BANK.technology_range)
    word = "technology_range_set_point"
    declared_span = plain["technology_supply_temperature"].copy(data=span)
    steered = calm_run(share=1.0, **{word: variables.tag_variable(declared_span, word)})
    assert steered["chip_temperature"].to_numpy() == pytest.approx(
        plain["chip_temperature"].to_numpy(), abs=1e-6
    )


def test_scale_view_has_the_same_flow():
    """Proves: chips of units at their least flow stand 30.46/24.99 as high as at the declared."""
    run = calm_run(share=0.3)
    racks = view(SITE, run, level="rack").isel(time=-1)
    assert float(racks["cdu_output"].max()) < BANK.minimum_flow * BANK.rated_heat
    supply = racks["technology_supply_temperature"].sel(unit=racks["serving"])
    above = (racks["chip_temperature"] - supply).to_numpy()
    busy = HALL.accelerator_power(racks["rack_power"].to_numpy()) / HALL.accelerator_power(
        HALL.rack_power
    )
    assert above == pytest.approx(CALM * busy, abs=0.02)
    late = view(SITE, run, level="chip", step=np.timedelta64(60, "s")).isel(time=-1)
    assert late["chip_temperature"].mean("chip").to_numpy() == pytest.approx(
        racks["chip_temperature"].to_numpy(), abs=0.05
    )


def test_site_check_includes_the_minimum_flow():
    """Proves: 71.9 degC at the least flow and a margin of 0.5 K pass 73, and not 72."""
    for limit, faults in ((73.0, 0), (72.0, 1)):
        site = SITE.with_parameters(HALL.name, chip_temperature_limit=limit)
        found = [f for f in site_issues(site) if "chip_temperature_limit" in f.location]
        assert len(found) == faults
