"""Digests see content and nothing else; comparisons name what differs; cheap facts hold."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.golden import digests, shapes
from tests.golden.compare import ABSENT, compare, read_stored, write_stored
from tests.golden.digests import LinearProgram
from tests.golden.journals import collect_journal
from tests.golden.models import STARTS, forecast_model
from tests.golden.outputs import CHEAP, collect_keys
from tests.golden.service_day import without_echoes
from tests.golden.simulations import collect_simulate
from tests.golden.source_tree import SourceTree
from tests.golden.wire import payload_shape

HERE = Path(__file__).parent

ROOT = HERE.parents[1]


def program(**changes):
    """Minimise x + 2 y + 3 z with x + y >= 1, y + z >= 2 and all in [0, 5]: y = 2 costs 4."""
    facts = {
        "rows": np.array([0, 0, 1, 1]),
        "columns": np.array([0, 1, 1, 2]),
        "values": np.ones(4),
        "row_bounds": np.array([[1.0, np.inf], [2.0, np.inf]]),
        "column_facts": np.array([[cost, 0.0, 5.0, 0.0] for cost in (1.0, 2.0, 3.0)]),
        "offset": 0.0,
    }
    return LinearProgram(**facts | changes)


def permuted(given):
    """Return a program with its rows and columns in reverse order."""
    last_row, last_column = len(given.row_bounds) - 1, len(given.column_facts) - 1
    return program(
        rows=last_row - given.rows[::-1],
        columns=last_column - given.columns[::-1],
        values=given.values[::-1],
        row_bounds=given.row_bounds[::-1],
        column_facts=given.column_facts[::-1],
    )


def test_order_does_not_change_the_digest():
    given = program()
    assert permuted(given).digest() == given.digest()
    for name, sums in given.sums().items():
        assert permuted(given).sums()[name] == pytest.approx(sums, rel=1e-12)


@pytest.mark.parametrize(
    "changes",
    [
        {"values": np.array([1.0, 1.0, 1.0, 1.0 + 1e-15])},
        {"row_bounds": np.array([[1.0, np.inf], [2.5, np.inf]])},
        {"row_bounds": np.array([[1.0, np.inf], [2.0, 2.0]])},
        {"column_facts": np.array([[c, 0.0, 5.0, float(c == 3.0)] for c in (1.0, 2.0, 3.0)])},
        {"rows": np.array([0, 1, 1, 1])},
        {"offset": 1.0},
    ],
)
def test_one_changed_number_changes_the_digest(changes):
    assert program(**changes).digest() != program().digest()


@pytest.mark.parametrize(
    "changes",
    [
        {"values": np.array([1.0, 1.0, 1.0, 1.0 + 1e-6])},
        {"row_bounds": np.array([[1.0, np.inf], [2.0 + 1e-6, np.inf]])},
        {"row_bounds": np.array([[1.0, np.inf], [2.0, 2.0]])},
        {"row_bounds": np.array([[-np.inf, 1.0], [2.0, np.inf]])},
        {"column_facts": np.array([[c, 0.0, 5.0, float(c == 3.0)] for c in (1.0, 2.0, 3.0)])},
        {"rows": np.array([0, 1, 1, 1])},
        {"columns": np.array([0, 1, 0, 2])},
        {"offset": 1.0},
    ],
)
def test_the_sums_show_what_the_last_bits_do_not_explain(changes):
    found = {"sums": program(**changes).sums()}
    assert compare(facts(**found), facts(sums=program().sums()), "stored") != []


def test_the_sums_do_not_show_the_last_bits():
    changed = program(
        values=np.array([1.0, 1.0, 1.0, 1.0 + 1e-15]),
        row_bounds=np.array([[1.0 - 1e-16, np.inf], [2.0, np.inf]]),
    )
    found = facts(sums=changed.sums())
    assert compare(found, facts(sums=program().sums()), "stored") == []


def test_the_optimum_does_not_depend_on_order():
    assert program().optimum() == permuted(program()).optimum() == 4.0


def test_models_are_read_from_files(tmp_path):
    path = tmp_path / "model.mps"
    path.write_text(
        "NAME\nROWS\n N  cost\n G  a\n G  b\nCOLUMNS\n x cost 1.0 a 1.0\n"
        " y cost 2.0 a 1.0\n y b 1.0\n z cost 3.0 b 1.0\nRHS\n r a 1.0 b 2.0\n"
        "BOUNDS\n UP u x 5.0\n UP u y 5.0\n UP u z 5.0\nENDATA\n"
    )
    assert LinearProgram.read(path).digest() == program().digest()


def test_arrays_with_the_same_content_have_one_digest():
    first = xr.Dataset({"power": (("time",), [1.0, np.nan, 0.0]), "name": (("time",), list("abc"))})
    second = xr.Dataset({"power": (("time",), [1.0, -np.nan, -0.0])})
    assert digests.dataset_digests(first) == digests.dataset_digests(second)
    changed = second.assign(power=second["power"] + 1e-15)
    assert digests.dataset_digests(changed) != digests.dataset_digests(second)


def facts(**unique):
    return {"part": {"unique": unique, "machine": {"digest": "a"}}}


def test_a_difference_has_its_path_and_both_values():
    expected, found = facts(rows=[1, {"x": 2}], old=1), facts(rows=[1, {"x": 3}], new="n")
    lines = {(one.path, one.expected, one.found) for one in compare(expected, found, "stored")}
    places = {("part/rows[1]/x", 2, 3), ("part/old", 1, ABSENT), ("part/new", ABSENT, "n")}
    assert lines == places


def test_stored_numbers_may_differ_in_their_last_digits():
    expected, found = facts(cost=1e6), facts(cost=1e6 * (1 + 1e-10))
    assert compare(expected, found, "stored") == []
    assert [one.path for one in compare(expected, found, "exact")] == ["part/unique/cost"]
    assert compare(expected, facts(cost=1e6 * (1 + 1e-8)), "stored") != []


def test_stored_comparison_omits_machine_dependent_values():
    found = facts(cost=1.0)
    found["part"]["machine"]["digest"] = "b"
    assert compare(facts(cost=1.0), found, "stored") == []
    assert [one.path for one in compare(facts(cost=1.0), found, "exact")] == ["part/machine/digest"]


def test_stored_files_are_read_unchanged(tmp_path):
    given = facts(long={"a" * 40: ["x" * 40, 1.5, None], "b": {}, "c": {"d": True}})["part"]
    write_stored(tmp_path, "part", given)
    assert read_stored(tmp_path, "part")["unique"] == given["unique"]
    with pytest.raises(ValueError, match="at most"):
        write_stored(tmp_path, "part", {"unique": {"text": "x" * 200_000}})


def test_earlier_policy_names_are_converted():
    earlier = {"policies": {"threshold": 1, "uncapped": 2, "optimal": 3, "optimal+prices": 4}}
    assert shapes.uses_earlier_names(earlier["policies"])
    named = shapes.with_policy_names(earlier, is_earlier=True)["policies"]
    expected = {"threshold_capped": 1, "threshold": 2, "deterministic": 3}
    assert named == expected | {"deterministic+prices": 4}
    assert not shapes.uses_earlier_names(named)
    assert not shapes.uses_earlier_names({"optimal": 1, "threshold_capped": 2})
    assert shapes.with_policy_names(named, is_earlier=False) == named


def test_shapes_hold_keys_and_types_only():
    (earlier,) = shapes.KEYS
    value = {"faults": [{earlier: "text", "value": 1}, {earlier: None}], "ok": True}
    assert shapes.shape_of(value) == {
        "": ["object"],
        ".faults": ["list"],
        ".faults[]": ["object"],
        ".faults[].remedy": ["null", "string"],
        ".faults[].value": ["number"],
        ".ok": ["boolean"],
    }


def test_numbers_keep_times_and_leave_out_texts():
    value = {"cpu_s": 3.2, "words": "a 1", "at": "2026-06-16T00:00Z", "n": [1, "b", None]}
    assert shapes.numbers_of(value) == {"at": "2026-06-16T00:00Z", "n": [1, None]}


def test_topics_omit_ids_and_keep_versions():
    assert shapes.without_digits("feed/v1/tso-1/r0012/34") == "feed/v1/tso-#/r#/#"


def test_payloads_are_json_signed_json_or_binary():
    assert payload_shape(b'{"value": 1}') == {"": ["object"], ".value": ["number"]}
    signed = payload_shape(b"eyJhbGciOiAiRSJ9.eyJhIjogMX0.c2ln")
    assert signed[".payload.a"] == ["number"]
    assert payload_shape(b"\x00\x01") == {"": ["binary"]}


@pytest.mark.slow
def test_fast_golden_values_match_stored_ones(tmp_path):
    tree = SourceTree(root=ROOT, scratch=tmp_path)
    name = f"small {STARTS[0]}"
    model, _ = digests.model_facts(forecast_model(tree, "small", STARTS[0]))
    found = {
        "simulate": collect_simulate(tree, ("small",)),
        "journal": collect_journal(tree),
        "keys": collect_keys(tree, CHEAP),
        "models": {"unique": {name: model}, "machine": {}},
    }
    for part, collected in found.items():
        assert collected["unique"]
        stored = read_stored(HERE, part)["unique"]
        expected = {"unique": {key: stored[key] for key in collected["unique"]}, "machine": {}}
        assert compare({part: expected}, {part: collected}, "stored") == []


def test_topics_do_not_depend_on_the_speed_of_the_machine():
    """Proves: echoes of heartbeats are left out; their metadata and the heartbeats stay."""
    kept = [
        "BMS/v1/PUB/Metadata/System/HeartbeatEchoBms/small/GIGATWIN/plant_heartbeat_echo",
        "BMS/v1/PUB/Value/System/HeartbeatTimestampBms/small/BMS/plant_heartbeat",
    ]
    left_out = [
        "BMS/v1/GIGATWIN/Value/System/HeartbeatEchoIntegration/small/BMS/service_heartbeat_echo",
        "BMS/v1/PUB/Value/System/HeartbeatEchoBms/small/GIGATWIN/plant_heartbeat_echo",
    ]
    assert list(without_echoes({topic: {} for topic in (*kept, *left_out)})) == kept
