"""Blocks and shards are plain Zarr, and corruption in them is detected."""

import icechunk
import numpy as np
import pytest
import zarr

from telemetry.archive.layout import COMPACTED_HOURS_LEVEL, MINUTE_S, OPEN_MINUTES_LEVEL, ArraySpec
from telemetry.archive.repository import ArchiveRepository
from telemetry.archive.repository_location import REPOSITORY_FOLDER, local_storage
from telemetry.archive.snapshot import Snapshot
from twin.errors import ArchiveError, IssueCode

DAY = 1_782_864_000  # 2026-07-01 in seconds since 1970


def made(level, *, name="power", columns=5, chips=3):
    return ArraySpec(
        group="racks",
        level=level,
        period="20260701",
        name=name,
        column_count=columns,
        chip_count=chips,
    )


@pytest.fixture(params=["disk", "memory"])
def store(request, tmp_path):
    """Return a store, and the folder that it lies in if it is on a disk."""
    if request.param == "disk":
        return ArchiveRepository.open(
            local_storage(tmp_path / REPOSITORY_FOLDER), "rhine"
        ), tmp_path / REPOSITORY_FOLDER
    return ArchiveRepository.open(icechunk.in_memory_storage(), "rhine"), None


def numbers(rows, columns, chips, seed=1):
    return np.random.default_rng(seed).normal(size=(rows, columns, chips)).astype(np.float32)


def put(store, level, second, values, *, columns):
    draft = store.begin_transaction()
    draft.write_values(made(level), second, values, columns=np.array(columns))
    store.commit(draft, "put", store.checkpoint)


@pytest.mark.parametrize("level", [OPEN_MINUTES_LEVEL, COMPACTED_HOURS_LEVEL])
def test_zarr_reads_written_blocks_and_back(store, level):
    held, folder = store
    values = numbers(2 * MINUTE_S, 5, 3)
    put(held, level, DAY + 7260, values, columns=range(5))
    plain = zarr.open_group(held.repository.readonly_session("main").store, mode="r")
    whole = plain[f"racks/{level.name}/20260701/power"][7200:7500]
    assert np.array_equal(whole[60:180], values)
    assert np.isnan(np.delete(whole, np.s_[60:180], axis=0)).all()
    snapshot = Snapshot.last(held.repository, folder)
    part = snapshot.read(
        "racks",
        "power",
        seconds=np.array([DAY + 7261, DAY + 7300, DAY + 7379, DAY + 9000]),
        columns=np.array([4, 0]),
        chips=np.array([2, 1]),
        levels=[level],
    )
    assert np.array_equal(part[:3], values[[1, 40, 119]][:, [4, 0]][:, :, [2, 1]])
    assert np.isnan(part[3]).all()


def test_unwritten_cells_stay_unchanged(store):
    held, folder = store
    values = numbers(MINUTE_S, 5, 3)
    put(held, OPEN_MINUTES_LEVEL, DAY, values, columns=range(5))
    late = np.full((MINUTE_S, 2, 3), np.nan, dtype=np.float32)
    late[17, 1] = 9.0
    put(held, OPEN_MINUTES_LEVEL, DAY, late, columns=[1, 3])
    found = Snapshot.last(held.repository, folder).read(
        "racks",
        "power",
        seconds=DAY + np.arange(MINUTE_S),
        columns=np.arange(5),
        chips=np.arange(3),
        levels=[OPEN_MINUTES_LEVEL],
    )
    values[17, 3] = 9.0
    assert np.array_equal(found, values)


def test_minutes_have_priority_over_hours(store):
    held, folder = store
    hours, minutes = numbers(180, 2, 3), numbers(MINUTE_S, 1, 3, seed=2)
    put(held, COMPACTED_HOURS_LEVEL, DAY, hours, columns=[0, 1])
    put(held, OPEN_MINUTES_LEVEL, DAY + MINUTE_S, minutes, columns=[1])
    found = Snapshot.last(held.repository, folder).read(
        "racks", "power", seconds=DAY + np.arange(180), columns=np.arange(2), chips=np.arange(3)
    )
    hours[60:120, 1] = minutes[:, 0]
    assert np.array_equal(found, hours)


def test_arrays_may_exceed_one_shard(store):
    held, folder = store
    put(held, COMPACTED_HOURS_LEVEL, DAY, numbers(180, 5, 3), columns=range(5))
    more = numbers(180, 70, 7, seed=3)
    draft = held.begin_transaction()
    draft.write_values(
        made(COMPACTED_HOURS_LEVEL, columns=70, chips=7), DAY + 180, more, columns=np.arange(70)
    )
    held.commit(draft, "put", held.checkpoint)
    found = Snapshot.last(held.repository, folder).read(
        "racks",
        "power",
        seconds=DAY + np.arange(360),
        columns=np.arange(70),
        chips=np.arange(7),
    )
    assert np.array_equal(found[180:], more)
    assert np.array_equal(found[:180, :5, :3], numbers(180, 5, 3))
    assert np.isnan(found[:180, 5:]).all()
    plain = zarr.open_group(held.repository.readonly_session("main").store, mode="r")
    assert np.array_equal(plain["racks/raw/20260701/power"][180:360], more)


def test_flipped_bit_is_detected(tmp_path):
    held = ArchiveRepository.open(local_storage(tmp_path / REPOSITORY_FOLDER), "rhine")
    put(held, COMPACTED_HOURS_LEVEL, DAY, numbers(180, 5, 3), columns=range(5))
    (chunk,) = (tmp_path / REPOSITORY_FOLDER / "chunks").iterdir()
    data = bytearray(chunk.read_bytes())
    data[100] ^= 1
    chunk.write_bytes(data)
    for folder in (tmp_path / REPOSITORY_FOLDER, None):
        snapshot = Snapshot.last(held.repository, folder)
        with pytest.raises(ArchiveError, match=r"racks/raw/20260701/power: a chunk is corrupt"):
            snapshot.read(
                "racks",
                "power",
                seconds=np.array([DAY]),
                columns=np.arange(5),
                chips=np.arange(3),
            )


def test_chunks_on_disk_are_read_without_icechunk(tmp_path, monkeypatch):
    folder = tmp_path / REPOSITORY_FOLDER
    held = ArchiveRepository.open(local_storage(folder), "rhine")
    values = numbers(180, 5, 3)
    put(held, COMPACTED_HOURS_LEVEL, DAY, values, columns=range(5))
    put(
        held, OPEN_MINUTES_LEVEL, DAY + 180, values[:1, :1, :1], columns=[0]
    )  # so small: in a manifest
    snapshot = Snapshot.last(held.repository, folder)
    monkeypatch.setattr("zarr.core.indexing.OIndex.__getitem__", None)
    found = snapshot.read(
        "racks",
        "power",
        seconds=DAY + np.array([3, 5, 180]),
        columns=np.arange(5),
        chips=np.arange(3),
    )
    assert np.array_equal(found[:2], values[[3, 5]])
    assert found[2, 0, 0] == values[0, 0, 0]


def test_missing_chunk_is_an_error(tmp_path):
    """Sensitivity: Zarr's pipeline takes a missing file for a shard without values."""
    folder = tmp_path / REPOSITORY_FOLDER
    held = ArchiveRepository.open(local_storage(folder), "rhine")
    put(held, COMPACTED_HOURS_LEVEL, DAY, numbers(180, 5, 3), columns=range(5))
    (chunk,) = (folder / "chunks").iterdir()
    chunk.unlink()
    part = {"seconds": np.array([DAY]), "columns": np.arange(5), "chips": np.arange(3)}
    for place in (folder, None):
        with pytest.raises(ArchiveError, match="data of this view was deleted") as caught:
            Snapshot.last(held.repository, place).read("racks", "power", **part)
        assert caught.value.code == IssueCode.MISSING


def test_manifest_of_other_format_is_read_by_icechunk(tmp_path, monkeypatch):
    monkeypatch.setattr("telemetry.archive.manifests._FILE_TYPE", b"\x03\x02\x01")
    held = ArchiveRepository.open(local_storage(tmp_path / REPOSITORY_FOLDER), "rhine")
    values = numbers(180, 5, 3)
    put(held, COMPACTED_HOURS_LEVEL, DAY, values, columns=range(5))
    found = Snapshot.last(held.repository, tmp_path / REPOSITORY_FOLDER).read(
        "racks", "power", seconds=np.array([DAY]), columns=np.arange(5), chips=np.arange(3)
    )
    assert np.array_equal(found[0], values[0])
