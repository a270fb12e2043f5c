"""Water set points: requested where the plant accepts them, else as declared."""

import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import xarray as xr

import sites
from optimizer.realtime.orders import DispatchOrders
from optimizer.service.decision_engine import with_declared_setpoints
from optimizer.service.decision_inputs import SETPOINT_REQUEST_VARIABLES
from optimizer.service.plant_orders import setpoint_refusal, setpoint_requests, setpoint_status
from sites.catalogue import find_site_file
from telemetry.points.binding import PointBinder
from telemetry.points.site_points import announced_metadata
from tests.support import moments
from tests.support.service_processes import Stage
from twin.simulation.setpoints import SET_POINT_VARIABLES, SUPPLY_SET_POINT_VARIABLE
from twin.site_settings import SetPointRules

ORDERS = DispatchOrders(
    jobs={},
    facility_supply_set_point={"warm_plant": 40.0, "chilled_plant": 18.0},
    facility_range_set_point={"warm_plant": 12.0, "chilled_plant": 8.0},
    technology_range_set_point={"cdu_1": 11.0},
)


def site(choice="cheapest"):
    return sites.load_site("small").model_copy(update={"set_points": SetPointRules(choice=choice)})


def points():
    """Return the writable points of a plant that has all agreed ones."""
    binder = PointBinder(site())
    for metadata in announced_metadata(site()):
        binder.register(metadata)
    return binder.integration_points


def observed(enabled=1.0, **others):
    circuits = ["warm_plant", "chilled_plant"]
    values = {"facility_enabled": enabled} | others
    data = {name: ("circuit", np.full(2, value)) for name, value in values.items()}
    return xr.Dataset(data, coords={"circuit": circuits})


def test_every_set_point_is_requested_of_every_object():
    requests = setpoint_requests(site(), ORDERS)
    assert requests["facility_supply_request", "warm_plant"] == 40.0
    assert requests["facility_range_request", "chilled_plant"] == 8.0
    assert [requests["technology_range_request", f"cdu_1/00{i}"] for i in (1, 2, 3)] == [11.0] * 3
    assert len(requests) == 2 + 2 + 3
    assert requests.keys() <= points().keys()
    assert set(SETPOINT_REQUEST_VARIABLES) == set(SET_POINT_VARIABLES)


def test_declared_set_points_are_not_requested():
    assert setpoint_requests(site(), DispatchOrders(jobs={})) == {}


def test_plant_with_all_points_is_accepted():
    assert setpoint_refusal(site(), points(), observed()) == ""


@pytest.mark.parametrize(
    ("word", "refusal"),
    [("facility_supply", "warm_plant"), ("facility_range", "warm_plant"), ("technology", "cdu_1")],
)
def test_missing_point_is_named(word, refusal):
    left = {key for key in points() if not key[0].startswith(word)}
    assert refusal in setpoint_refusal(site(), left, observed())
    assert setpoint_refusal(site("declared"), left, observed()) == ""


def test_temperatures_alone_need_no_points_for_flows():
    left = {key for key in points() if "range" not in key[0]}
    assert setpoint_refusal(site("temperature"), left, observed()) == ""
    assert setpoint_refusal(site("cheapest"), left, observed()) != ""


@pytest.mark.parametrize("enabled", [0.0, np.nan])
def test_circuit_that_does_not_follow_is_not_accepted(enabled):
    assert "warm_plant does not report" in setpoint_refusal(site(), points(), observed(enabled))


def test_refused_set_points_keep_declared_temperatures():
    pilot = moments.pilot()
    pilot.site = site()
    first = pilot.decide(replace(moments.facts(), accepts_setpoints=False))
    assert SUPPLY_SET_POINT_VARIABLE not in first.choice.schedule
    assert first.problem.site.set_points.choice == "declared"
    assert with_declared_setpoints(site()) == site("declared")


def test_requested_and_applied_set_points_are_shown():
    rows = setpoint_status(
        site(), observed(facility_supply_applied=39.5), setpoint_requests(site(), ORDERS)
    )
    assert msgspec.to_builtins(rows[0]) == {
        "machine": "warm_plant",
        "what": "supply temperature",
        "unit": "degC",
        "asked": 40.0,
        "applied": 39.5,
    }
    assert [row.applied for row in rows[2:]] == [None] * 3
    msgspec.json.encode(rows)


@pytest.mark.slow
def test_run_over_a_broker_breaks_no_limit(tmp_path, embedded):
    """Six hours: requested, applied, and every schedule acknowledged."""
    file = tmp_path / "steered.toml"
    text = find_site_file("small").read_text()
    file.write_text(f'{text}\n[set_points]\nchoice = "cheapest"\n')
    with Stage(tmp_path, embedded.url, file=file) as played:
        played.attend()
        played.serve("--page", "0")
        played.play(24)
        result = played.result(timeout=900.0)
        telemetry = played.tell("status")["snapshot"]["telemetry"]
    assert result["violations"] == {}
    assert result["undecided"] == result["messages"].get("refused", 0) == 0
    assert telemetry["water_refusal"] == ""
    assert telemetry["water"]
    for row in telemetry["water"]:
        assert row["applied"] == pytest.approx(row["asked"], abs=0.11)
    lines = (tmp_path / "partner.jsonl").read_text().splitlines()
    taken = {one["revision"] for one in map(json.loads, lines) if one["code"] == "A01"}
    assert len(taken) == 24
