"""Legal limits by hand: 10 MW of a site whose IT draws 8 MW are a PUE of 1.25."""

from datetime import date

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

import sites
from tests.support.steady_site import steady_run
from twin.equipment import HeatReuse
from twin.reporting.national_limits import NationalLimit, assess_limits, legal_indicators

GERMANY = sites.national_limits("Europe/Berlin")
HOURS = 24


def run(start, **words):
    return steady_run(start, HOURS, **words)


def owned(value, name, owner):
    return xr.DataArray(np.full((HOURS, 1), value), dims=("time", name), coords={name: [owner]})


def duties_of(start, opened, **words):
    found = assess_limits(
        sites.load_site("small"), run(start, **words), GERMANY.duties.values(), opened=opened
    )
    return {
        (one.national_limit.figure, one.national_limit.limit): (
            str(one.applies_from),
            one.applies,
            one.is_met,
        )
        for one in found
    }


def test_site_of_before_july_2026_has_limits_of_pue_from_2027_and_2030():
    found = duties_of("2028-03-01", date(2026, 6, 30))
    assert found["PUE", 1.5] == ("2027-07-01", True, True)
    assert found["PUE", 1.3] == ("2030-07-01", False, True)
    assert ("PUE", 1.2) not in found
    assert not [key for key in found if key[0] == "ERF"]


@pytest.mark.parametrize(
    ("opened", "least"),
    [
        (date(2026, 7, 1), 0.10),
        (date(2027, 6, 30), 0.10),
        (date(2027, 7, 1), 0.15),
        (date(2028, 6, 30), 0.15),
        (date(2028, 7, 1), 0.20),
    ],
)
def test_new_site_has_two_years_to_reach_pue_and_the_reuse_of_its_year(opened, least):
    binds = str(opened.replace(year=opened.year + 2))
    found = duties_of("2031-03-01", opened)
    assert found["PUE", 1.2] == (binds, True, False)
    assert [key for key in found if key[0] == "ERF"] == [("ERF", least)]
    assert found["ERF", least] == (binds, True, False)


def test_limit_binds_from_its_first_day_by_the_sites_calendar():
    """Half past midnight of 1 July in Berlin is still June in UTC."""
    opened = date(2025, 1, 1)
    assert duties_of("2027-06-29T22:00", opened)["PUE", 1.5] == ("2027-07-01", False, True)
    assert duties_of("2027-06-29T22:30", opened)["PUE", 1.5] == ("2027-07-01", False, True)
    assert duties_of("2027-06-30T22:30", opened)["PUE", 1.5] == ("2027-07-01", True, True)
    assert ("PUE", 1.5) not in duties_of("2030-06-30T22:00", opened)


def test_own_renewables_reach_the_share_or_leave_it_open():
    found = duties_of(
        "2026-12-01", date(2026, 8, 1), renewable_used_power=owned(6.0, "renewable", "s")
    )
    assert found["REF", 0.5] == ("2026-08-01", True, True)
    assert found["REF", 1.0] == ("2027-01-01", False, None)


def test_heat_pump_power_does_not_count_in_pue():
    site = sites.load_site("baltica")
    pump = site.machines_of(HeatReuse)[0]
    heat = 0.5 * pump.rated_heat
    words = {
        "heat_reuse_power": owned(heat, "heat_reuse", pump.name),
        "air_temperature": ("time", np.full(HOURS, 5.0)),
    }
    lift = float(pump.power(np.array([heat]), np.array([5.0]))[0])
    found = legal_indicators(site, run("2028-03-01", **words))
    assert lift > 0.0
    assert found["PUE"] == pytest.approx((10.0 - lift) / 8.0)
    assert found["ERF"] == pytest.approx(heat / 10.0)
    words["heat_reuse_draw"] = owned(0.5, "heat_reuse", pump.name)
    found = legal_indicators(site, run("2028-03-01", **words))
    assert found["PUE"] == pytest.approx((10.0 - 0.5) / 8.0)  # the given value has precedence


def test_idle_site_is_not_judged():
    still = {"it_power": ("time", np.zeros(HOURS))}
    assert duties_of("2031-03-01", date(2026, 8, 1), **still)["PUE", 1.2][2] is None


def test_duty_has_one_limit():
    rule = {"paragraph": "1", "figure": "PUE", "valid_from": date(2026, 1, 1),
            "status": "assumed", "source": "assumed"}  # fmt: skip
    for limits in ({}, {"at_most": 1.2, "at_least": 1.0}):
        with pytest.raises(ValidationError, match="one of them"):
            NationalLimit.model_validate(rule | limits)


def test_no_duties_are_known_elsewhere():
    assert sites.national_limits("Europe/Helsinki") is None
