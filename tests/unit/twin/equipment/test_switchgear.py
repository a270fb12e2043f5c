"""Switchgear: limit, loss and own use, by hand."""

import numpy as np
import pytest
import xarray as xr

import sites
from sites.checks import site_issues
from tests.support.runs import steady, total
from twin.equipment import Switchgear
from twin.simulation import state
from twin.simulation.operating_limits import count_violations
from twin.simulation.simulate import simulate

PANELS = {
    "name": "switchgear_1",
    "rating": "100 MVA",
    "power_factor": 0.95,
    "rated_loss": 0.0005,
    "own_use": 0.0002,
}


def made(**changed):
    return Switchgear.model_validate(PANELS | changed)


def test_switchgear_loss_is_square_of_load_plus_heaters(outdoors):
    # 95 MW are the rating: 0.05 + 0.02 MW; half of it 0.0125 + 0.02; either way
    (convert,) = made().relations()
    weather = outdoors([20.0] * 4, 15.0)
    found = convert.flows_at_output(np.array([95.0, 47.5, 0.0, -95.0]), weather)
    assert found.heat == pytest.approx([0.07, 0.0325, 0.02, 0.07])
    assert found.inputs["busbar"] == pytest.approx([95.07, 47.5325, 0.02, -94.93])
    assert found.details["switchgear_loading"] == pytest.approx([1.0, 0.5, 0.0, 1.0])
    assert convert.max_output(weather) == pytest.approx([95.0] * 4)


def test_site_with_switchgear_draws_its_loss():
    site = sites.load_site("small")
    bank = site.equipment["transformer_1"].with_values(delivers="busbar")
    panels = made(rating="6 MVA", own_use=0.001)
    wider = site.with_equipment({**site.equipment, "transformer_1": bank, panels.name: panels})
    assert site_issues(wider) == []
    plain = simulate(site, state.initial_state(site), steady(site))
    lossy = simulate(wider, state.initial_state(wider), steady(wider))
    loss = total(lossy, "transformer_output") - total(plain, "transformer_output")
    assert loss == pytest.approx(total(lossy, "switchgear_loss"))
    assert loss.min() > 0.006
    assert lossy["closure"].max() < 1e-9


def test_panel_overload_is_a_violation_in_every_minute():
    """Proves: 2.5 MVA of panels under what a transformer of 6 MVA gives."""
    site = sites.load_site("small")
    bank = site.equipment["transformer_1"].with_values(delivers="busbar")
    tight = site.with_equipment(
        {**site.equipment, bank.name: bank, "switchgear_1": made(rating="2.5 MVA")}
    )
    operation = steady(tight, count=20, minutes=1)
    operation["hall_power"] = xr.full_like(operation["hall_power"], 1.4).assign_attrs(
        operation["hall_power"].attrs
    )
    record = simulate(tight, state.initial_state(tight), operation)
    assert record["switchgear_loading"].min() > 1.0
    assert count_violations(tight, record).sel(limit="switchgear_loading of switchgear_1") == 20
    wide = site.with_equipment(
        {**site.equipment, bank.name: bank, "switchgear_1": made(rating="6 MVA")}
    )
    assert count_violations(wide, simulate(wide, state.initial_state(wide), operation)).sum() == 0


def test_transformers_without_switchgear_are_reported():
    site = sites.load_site("small").with_parameters("transformer_1", delivers="busbar")
    assert any("a machine that delivers medium_voltage" in str(f) for f in site_issues(site))
