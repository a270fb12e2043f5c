"""The registry works, and our way and the limit's find the same; how fast is not tested."""

import json
import re
import subprocess

import numpy as np
import pytest

from tests.benchmarks import __main__ as command
from tests.benchmarks import frontier_day
from tests.benchmarks.bench import Bench, Measured, Place, cpu, peak_mb
from tests.benchmarks.measuring import ROW, UnequalWaysError, compare, measure

HERE = "tests.benchmarks.test_benches"


def counted(place):
    (place.scratch / "mine").write_text("x")
    with cpu() as clock:
        total = sum(range(200_000))
    assert clock.seconds > 0.0
    if place.export:
        (place.export / "model.mps").write_text("NAME")
    return Measured(value=clock.seconds, figures={"total": float(total)}, cost=2.0)


def summed(_place):
    return Measured(value=8.0, figures={"total": 199_999.0 * 100_000.0}, cost=0.5)


def mistaken(_place):
    return Measured(value=8.0, figures={"total": 1.0})


BENCHES = (
    Bench(name="self.sum", unit="s", ours=counted, limit=summed, runs=2, note="a sum"),
    Bench(name="self.alone", unit="s", ours=counted, runs=1),
    Bench(name="self.wrong", unit="s", ours=counted, limit=mistaken, runs=1),
)


def test_a_row_has_the_binding_keys(tmp_path):
    row = measure(BENCHES[0], HERE, export=tmp_path)
    assert list(row) == list(ROW)
    assert (row["name"], row["unit"], row["limit_value"], row["ratio"]) == ("self.sum", "s", 8.0, 4)
    assert row["peak_mb"] > 5.0
    assert re.match(r"a sum; median of 2; commit \w+(-dirty)?; Python 3\.\d+", row["note"])
    assert (tmp_path / "model.mps").exists()
    json.dumps(row, allow_nan=False)


def test_a_row_without_a_limit_has_no_ratio():
    row = measure(BENCHES[1], HERE)
    assert row["ratio"] is None
    assert row["limit_value"] is None


def test_ways_that_differ_are_an_error():
    with pytest.raises(UnequalWaysError, match=r"self.wrong: total is 19999900000.0 by us, 1.0 by"):
        measure(BENCHES[2], HERE)
    with pytest.raises(UnequalWaysError, match="other figures"):
        compare(BENCHES[0], {"a": 1.0}, {"b": 1.0})


def test_memory_is_the_own_not_the_parents():
    before = peak_mb()
    block = np.ones(40_000_000)
    assert peak_mb() > before + 200.0
    del block
    assert measure(BENCHES[1], HERE)["peak_mb"] < before


def test_rows_are_chosen_by_group_or_name():
    names = [bench.name for bench, _ in command.chosen(["all"])]
    assert len(set(names)) == len(names)
    assert all(name.partition(".")[0] in command.GROUPS for name in names)
    assert [b.name for b, _ in command.chosen(["twin.frontier_day"])] == ["twin.frontier_day"]
    assert [b.name for b, _ in command.chosen(["twin"])] == [n for n in names if n[:5] == "twin."]
    with pytest.raises(SystemExit, match=r"there is no twin.nothing; there are twin.frontier_day"):
        command.chosen(["twin.nothing"])


def test_the_command_knows_its_words(root):
    words = [root / "dev", "bench", "nothing"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 2
    assert "there is no nothing; choose from twin" in done.stderr


def test_frontier_both_ways():
    place = Place(scratch=None)
    both = [way(place, seconds=1800) for way in (frontier_day.ours, frontier_day.limit)]
    compare(frontier_day.BENCH, both[0].figures, both[1].figures)
    # 74 cabinets and 25 CDUs under HPL, as published: 22.9545 MW
    assert both[0].figures["under_hpl_mw"] == pytest.approx(22.9545, rel=1e-4)
