"""A minimal site: sizes for a power, with each kind of standard racks."""

import pytest

import sites
from sites import catalogue
from twin.errors import IssueCode, SiteError, UnitError

FRANKFURT = (50.1, 8.65)
RACKS = sorted(catalogue.standard_machines("accelerators"))


def test_sizes_follow_from_the_power():
    """0.8 of 20 MW are 121 racks of 132 kW; dry coolers carry 0.868 of 15.97 MW, 0.6 MW each."""
    site = sites.minimal("20 MW", *FRANKFURT, elevation="111 m")
    assert site.rack_count == 121
    assert site.grid_connection.import_limit == 20.0
    assert site.grid_connection.ramp == pytest.approx(1.0)
    assert site.equipment["warm_plant"].rejection.count == 24
    assert site.equipment["cdu_1"].count == 12
    assert (site.latitude, site.longitude, site.elevation) == (*FRANKFURT, 111.0)


@pytest.mark.parametrize(
    ("power", "racks"),
    [(1.0, "gb200_nvl72"), (500.0, "gb200_nvl72"), *((30.0, one) for one in RACKS)],
)
def test_each_kind_of_racks_makes_a_sound_site(power, racks):
    site = sites.minimal(power, *FRANKFURT, accelerators=racks)
    assert list(sites.implausible_values(site)) == []
    assert sites.design_loads(site, busy_share=1.0)["grid"] < power


def test_racks_cooled_by_air_need_no_warm_circuit():
    site = sites.minimal(10.0, *FRANKFURT, accelerators="dgx_h100")
    kinds = {machine.kind for machine in site.equipment.values()}
    assert "cdu" not in kinds
    assert "warm_plant" not in site.equipment


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"power": 0.2}, IssueCode.OUT_OF_RANGE),
        ({"power": float("nan")}, IssueCode.OUT_OF_RANGE),
        ({"power": 20, "accelerators": "gb2000"}, IssueCode.UNKNOWN_NAME),
        ({"power": 20, "accelerators": "row_1300_kw"}, IssueCode.UNKNOWN_NAME),
    ],
)
def test_invalid_values_are_named(values, code):
    with pytest.raises(SiteError) as caught:
        sites.minimal(latitude=50.1, longitude=8.65, **values)
    assert code in {issue.code for issue in caught.value.issues}


def test_power_needs_a_unit_of_power():
    with pytest.raises(UnitError):
        sites.minimal("20 MWh", *FRANKFURT)
