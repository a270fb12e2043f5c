"""Figures for the regulator, by hand from runs of round numbers."""

import numpy as np
import pytest
import xarray as xr

import sites
from tests.support.heat_pump_site import heated
from tests.support.steady_site import steady_run
from twin import variables
from twin.errors import ProblemError, UnitError
from twin.reporting.eu_report import report_items

HOURS = 48


def run(**words):
    return steady_run("2026-07-01", HOURS, **words)


def hourly(value, name, owner):
    return xr.DataArray(np.full((HOURS, 1), value), dims=("time", name), coords={name: [owner]})


def items_by_key(site, what, **others):
    return {one.key: one for one in report_items(site, what, **others)}


def test_energy_and_indicators_of_two_flat_days():
    """10 MW for 48 h are 480,000 kWh; PUE 10/8, WUE 2/8; 1 MW of sun of 10 is a REF of 0.1."""
    sun = hourly(1.0, "renewable", "solar_1")
    found = items_by_key(sites.load_site("small"), run(renewable_used_power=sun))
    assert found["E_DC"].value == pytest.approx(480_000.0)
    assert found["E_IT"].value == pytest.approx(384_000.0)
    assert found["W_IN"].value == pytest.approx(96.0)
    assert found["E_RES-OOS"].value == pytest.approx(48_000.0)
    assert found["PUE"].value == pytest.approx(1.25)
    assert found["WUE"].value == pytest.approx(0.25)
    assert found["REF"].value == pytest.approx(0.1)
    assert found["E_REUSE"].value == found["ERF"].value == 0.0
    assert "CUE" not in found
    assert "CDD" not in found


def test_purchased_wind_counts_as_off_site():
    """Baltica pays for its wind, small for none of its own."""
    wind = run(renewable_used_power=hourly(1.0, "renewable", "wind_1"))
    assert items_by_key(sites.load_site("small"), wind)["E_RES-OOS"].basis == "run"
    found = items_by_key(sites.load_site("baltica"), wind)["E_RES-OOS"]
    assert found.value == pytest.approx(48_000.0)
    assert found.basis == "run; with wind_1, paid by contract: E_RES-PPA if not on site"
    assert (
        items_by_key(sites.load_site("baltica"), run())["E_RES-OOS"].basis
        == "known by the operator of its meter"
    )


def test_items_unknown_to_a_run_are_left_to_the_operator():
    found = items_by_key(sites.load_site("small"), run())
    for key in ("W_IN-POT", "E_RES-PPA", "E_RES-GOO"):
        assert found[key].value is None
        assert found[key].basis.startswith("known by")


def test_installed_power_comes_from_the_site():
    """28 racks of 132 kW, and a battery only where it answers the grid by itself."""
    site = sites.load_site("small")
    assert items_by_key(site, run())["P_IT"].value == pytest.approx(28 * 132.0)
    assert items_by_key(site, run())["C_BtG"].value == 0.0
    alone = site.with_parameters("battery_1", local_controller=True)
    capacity = 1e3 * alone.equipment["battery_1"].capacity
    assert items_by_key(alone, run())["C_BtG"].value == pytest.approx(capacity)


def test_carbon_counts_the_import():
    """9 of 8 MW at 200 kg/MWh."""
    carbon = variables.tag_variable(run()["it_power"] * 0.0 + 200.0, "carbon_intensity")
    found = items_by_key(sites.load_site("small"), run(), carbon_intensity=carbon)
    assert found["CUE"].value == pytest.approx(225.0)


def test_only_hot_days_have_cooling_degree_days():
    """By Eurostat a day of 30 degC has 9, one of 23 degC none."""
    warmth = xr.DataArray(np.repeat([30.0, 23.0], 24), dims="time")
    utc = sites.load_site("small").model_copy(update={"time_zone": "UTC"})
    found = items_by_key(utc, run(air_temperature=warmth))
    assert found["CDD"].value == pytest.approx(9.0)


def test_degree_days_follow_the_local_calendar():
    """Proves: in summer a German day begins at 22:00 UTC, and a partial day counts in part.

    1 July has 22 of its 24 h, with 30 degC: 9 * 22 / 24. 2 July has 2 h of 30 and 22 of 18
    degC: none. Sensitivity: blocks of 24 h from the first row gave 9.
    """
    warmth = xr.DataArray(np.repeat([30.0, 18.0], 24), dims="time")
    site = sites.load_site("small")
    assert site.time_zone == "Europe/Berlin"
    found = items_by_key(site, run(air_temperature=warmth))
    assert found["CDD"].value == pytest.approx(9.0 * 22 / 24)


def test_missing_values_are_never_summed_as_zero():
    """Proves: a sum over a hole is no sum. Sensitivity: E_DC was 470,000 kWh, and the PUE 1.224."""
    for name in ("facility_power", "water_use"):
        what = run()
        what[name][5] = np.nan
        with pytest.raises(ProblemError, match=f"{name}, 2026-07-01T05:00Z = no number"):
            report_items(sites.load_site("small"), what)


def test_negative_power_water_and_carbon_are_refused():
    what = run()
    what["water_use"][3:] = -1.0
    with pytest.raises(ProblemError, match="water_use, 2026-07-01T03:00Z = -1 m3/h at the least"):
        report_items(sites.load_site("small"), what)
    carbon = variables.tag_variable(run()["it_power"] * 0.0 - 2.0, "carbon_intensity")
    with pytest.raises(ProblemError, match="carbon_intensity"):
        report_items(sites.load_site("small"), run(), carbon_intensity=carbon)


def test_unmetered_machine_output_is_unknown():
    """Proves: sun and cooling of `small` are not 0 because nobody metered them; its heat sold is.

    Sensitivity: 0 kWh of cooling and a REF of 0 stood in the report.
    """
    found = items_by_key(sites.load_site("small"), run())
    for key in ("E_DC-BG", "cooling", "E_RES-OOS", "REF"):
        assert found[key].value is None
        assert found[key].basis == "known by the operator of its meter"
    assert found["E_REUSE"].value == found["ERF"].value == 0.0
    assert items_by_key(heated(), run())["ERF"].value is None


def test_it_power_above_facility_power_is_refused():
    """8 MW of 10 for 48 h are a PUE of 1.25; with the meters exchanged it would be 0.8."""
    what = run()
    swapped = what.assign(it_power=what["facility_power"], facility_power=what["it_power"])
    with pytest.raises(ProblemError, match="it_power = 480 MWh, of 384 MWh of the whole site"):
        report_items(sites.load_site("small"), swapped)


def test_indicators_of_idle_it_are_unknown():
    what = run()
    what["it_power"][:] = 0.0
    found = items_by_key(sites.load_site("small"), what)
    assert found["PUE"].value is found["WUE"].value is None
    assert found["PUE"].basis == "unknown: nothing was drawn that it is over"
    assert found["ERF"].value == 0.0


def test_reused_heat_has_its_mean_temperature():
    """Water slides from 80 degC in frost to 60 at the heating limit: 70 half way, at 5 degC."""
    site = heated(mild_supply_temperature="60 degC")
    warmth = xr.DataArray(np.full(HOURS, 5.0), dims="time")
    heat = hourly(2.0, "heat_reuse", "pump")
    found = items_by_key(site, run(air_temperature=warmth, heat_reuse_power=heat))
    assert found["E_REUSE"].value == pytest.approx(96_000.0)
    assert found["T_WH"].value == pytest.approx(70.0)
    assert found["ERF"].value == pytest.approx(0.2)


def test_heat_of_unknown_meters_has_no_temperature():
    """Proves: the energy counts, its temperature is left open. Sensitivity: a division by 0."""
    for site in (sites.load_site("small"), heated(mild_supply_temperature="60 degC")):
        found = items_by_key(site, run(heat_reuse_power=hourly(2.0, "heat_reuse", "customer")))
        assert found["E_REUSE"].value == pytest.approx(96_000.0)
        assert found["T_WH"].value is None


def test_run_without_water_names_the_missing_variable():
    with pytest.raises(UnitError, match="water_use"):
        report_items(sites.load_site("small"), run().drop_vars("water_use"))
