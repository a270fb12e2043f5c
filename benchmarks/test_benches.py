"""The registry works, and our way agrees with its limit; speed is not tested."""

import json
import re
import subprocess

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import chip_hour, ingest_points, load_flow_year, site_year
from benchmarks.bench import Place, peak_mb
from benchmarks.measuring import ROW, UnequalWaysError, compare, measure
from benchmarks.sums import BENCHES

HERE = "benchmarks.sums"


def test_row_has_the_required_keys(tmp_path):
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


def test_different_results_of_two_ways_are_an_error():
    with pytest.raises(UnequalWaysError, match=r"self.wrong: total is 19999900000.0 by us, 1.0 by"):
        measure(BENCHES[2], HERE)
    with pytest.raises(UnequalWaysError, match="other figures"):
        compare(BENCHES[0], {"a": 1.0}, {"b": 1.0})


def test_peak_memory_excludes_the_parent_process():
    before, blocks = peak_mb(), []
    while peak_mb() < before + 200.0:  # what other tests gave back is taken first
        blocks.append(np.ones(10_000_000))
    blocks.clear()
    assert measure(BENCHES[1], HERE)["peak_mb"] < before


def test_rows_are_chosen_by_group_or_name():
    names = [bench.name for bench, _ in command.chosen(["all"])]
    assert len(set(names)) == len(names) > 0
    assert all(name.partition(".")[0] in command.GROUPS for name in names)
    assert [b.name for b, _ in command.chosen(["twin.site_year"])] == ["twin.site_year"]
    assert [b.name for b, _ in command.chosen(["twin"])] == [n for n in names if n[:5] == "twin."]
    with pytest.raises(SystemExit, match=r"there is no twin.nothing; there are twin.site_year"):
        command.chosen(["twin.nothing"])


@pytest.mark.slow
def test_command_accepts_its_arguments(root):
    words = [root / "dev", "bench", "nothing"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 2
    assert "there is no nothing; choose from" in done.stderr


@pytest.mark.slow
def test_chip_hour_agrees_with_its_limit():
    place = Place(scratch=None)
    both = [way(place, seconds=120) for way in (chip_hour.ours, chip_hour.limit)]
    compare(chip_hour.BENCH, both[0].figures, both[1].figures)
    assert 40.0 < both[0].figures["hottest"] < 80.0


def test_load_flow_year_agrees_with_its_limit():
    place = Place(scratch=None)
    both = [way(place, days=1) for way in (load_flow_year.ours, load_flow_year.limit)]
    compare(load_flow_year.BENCH, both[0].figures, both[1].figures)
    assert 0.9 < both[0].figures["least_voltage"] < 1.0


@pytest.mark.slow
def test_site_year_agrees_with_its_limit(tmp_path):
    both = []
    for way in (site_year.ours, site_year.limit):
        (scratch := tmp_path / way.__name__).mkdir()
        both.append(way(Place(scratch=scratch), days=3))
    compare(site_year.BENCH, both[0].figures, both[1].figures)
    assert both[0].figures["is_closed"] == 1.0
    # 1,390 racks in 13 hours of samples at 60 to 132 kW
    assert both[0].figures["rack_power"] > 13 * 60 * 1390 * 0.06


@pytest.mark.slow
def test_points_of_the_ingest_rows_are_archived_once(tmp_path, monkeypatch):
    monkeypatch.setattr(ingest_points, "COUNT", 12)
    monkeypatch.setattr(ingest_points, "SECONDS", 5)
    spent = ingest_points.drained(Place(scratch=tmp_path))  # it reads the archive back itself
    assert len(spent) == len(ingest_points.TYPES) + 1
