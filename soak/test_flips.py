"""A small sample of the soaks of changed bytes and of full disks, and that they can fail."""

import os
import random

import pytest

from soak import flips, full
from telemetry.archive import Archive
from telemetry.archive.backup import verify
from telemetry.archive.loss_log import LOSS_LOG_FILE
from tests.support.archives import batch


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    flips.make(folder)
    return folder


@pytest.fixture
def copy(base, tmp_path):
    flips.shutil.copytree(base, tmp_path / "copy")
    return tmp_path / "copy"


def read(folder, seconds, **words):
    return flips.read(folder, seconds, flips.Tally(), **words)


@pytest.mark.slow
def test_intact_archive_has_no_faults(copy):
    assert read(copy, flips.ARCHIVED) == []
    losses = flips.write(copy, is_whole=True)
    assert losses == frozenset()
    assert read(copy, [*flips.ARCHIVED, *flips.WAITING], sure=flips.LATER) == []
    assert flips.again(copy) == []


@pytest.mark.slow
def test_unreported_loss_is_a_fault(copy):
    faults = read(copy, [*flips.ARCHIVED, 305])
    assert "racks power is absent without a word in [305]" in faults
    assert "points value is absent without a word in [305]" in faults
    (copy / "archive" / LOSS_LOG_FILE).write_text(
        '{"group": "all", "from": "2026-07-01T00:05:00Z"}\n'
    )
    assert read(copy, [*flips.ARCHIVED, 305]) == []
    assert read(copy, [], sure=[305]) != []  # what came after the change must be there


@pytest.mark.slow
def test_wrong_archived_value_is_a_fault(copy):
    archive = Archive(copy / "archive", flips.SITE)
    archive.add(batch("r0001", 101, value=7.0), archive.replay_positions["a"], journal="b")
    archive.commit(include_open=True)
    assert "racks clock lies in [101]" in read(copy, [*flips.ARCHIVED, 101])


def test_given_number_of_files_is_changed(copy):
    changes = list(flips.change(copy, random.Random(1), 12))
    assert 6 < len(changes) <= 12


@pytest.mark.parametrize("how", ["changed", "cut", "cut between lines", "emptied"])
def test_damaged_file_of_retained_messages_is_reported(copy, how):
    path = copy / "archive" / "kept.jsonl"
    whole = path.read_text()
    lines = whole.split("\n")
    path.write_text(
        {
            "changed": whole.replace("battery_3", "battery_2", 1),
            "cut": whole[: len(whole) // 2],
            "cut between lines": "\n".join(lines[:4]),
            "emptied": "",
        }[how]
    )
    assert {one["group"] for one in verify(copy / "archive").lost} == {"kept"}
    assert flips.recall(copy) == []
    log = (copy / "archive" / LOSS_LOG_FILE).read_text()
    assert "kept.jsonl" in log
    assert flips.recall(copy) == []
    assert (copy / "archive" / LOSS_LOG_FILE).read_text() == log
    (copy / "archive" / LOSS_LOG_FILE).unlink()
    assert flips.recall(copy) == ["what is said once is absent"]


@pytest.mark.slow
def test_changed_bytes_lose_nothing_silently():
    figures = flips.run(4 * flips.A_TRIAL, seed=77, say=lambda _: None)
    assert figures["faults"] == []
    assert sum(figures["changed"].values()) > 20


@pytest.mark.long
def test_full_disk_loses_nothing():
    if os.geteuid():
        pytest.skip("only root may mount a small file system")
    figures = full.run(2, seed=1, say=lambda _: None)
    assert figures["faults"] == []
