"""The racks of one second: each as deep as it is, and the newest of its moments."""

import numpy as np

from telemetry.archive.commit_batch import BLOCK_OVERHEAD_BYTES, RackSecond


def values(chips, number):
    return np.full((5, chips), number, dtype=np.float32)


def written(slab, columns=4, first=0):
    block = np.full((columns, slab.max_chips), np.nan, dtype=np.float32)
    slab.write_variable(1, into=block, first=first)
    return block


def many(slab, columns, numbers, *, chips=2, stamps=None):
    columns = np.array(columns)
    block = np.array([values(chips, number) for number in numbers])
    stamps = np.zeros(len(columns), dtype=np.int16) if stamps is None else np.array(stamps)
    return slab.put_many(columns, block, stamps.astype(np.int16))


def test_one_wide_rack_widens_no_other():
    """Sensitivity: each of 1000 racks was as wide as the widest: 114 MB a second."""
    slab = RackSecond()
    many(slab, range(1000), range(1000), chips=72)
    before = slab.size
    slab.put(1000, values(4096, 7.0))
    assert slab.size - before == 5 * 4096 * 4 + BLOCK_OVERHEAD_BYTES
    assert slab.max_chips == 4096
    block = written(slab, 1001)
    assert block[:1000, 0].tolist() == list(range(1000))
    assert np.isnan(block[:1000, 72:]).all()
    assert (block[1000] == 7.0).all()


def test_distant_racks_take_only_their_own_space():
    slab = RackSecond()
    many(slab, [0, 9000], [1.0, 2.0])
    assert slab.size == 2 * 5 * 2 * 4 + BLOCK_OVERHEAD_BYTES
    assert written(slab, 9001)[[0, 9000], 0].tolist() == [1.0, 2.0]


def test_of_a_rack_the_newest_moment_stays():
    slab = RackSecond()
    assert not slab.put(1, values(2, 1.0), 500)
    assert slab.put(1, values(2, 2.0), 400)
    assert many(slab, [0, 1], [3.0, 4.0], stamps=[0, 600]) == 1
    assert many(slab, [2, 2], [5.0, 6.0], stamps=[1, 0]) == 1
    assert not slab.put(1, values(1, 9.0), 600)
    block = written(slab)
    assert block[:, 0].tolist()[:3] == [3.0, 9.0, 5.0]
    assert block[1, 0] == 9.0
    assert np.isnan(block[1, 1])  # of another batch
    assert np.array_equal(written(slab), block, equal_nan=True)
    assert np.array_equal(written(slab, 1, first=1), block[1:2], equal_nan=True)


def test_an_update_has_the_newer_batch_of_a_rack_as_a_whole():
    slab, later = RackSecond(), RackSecond()
    slab.put(70, values(2, 1.0), 5)
    slab.put(71, values(2, 4.0), 5)
    absent = values(2, 2.0)
    absent[:, 0] = np.nan
    later.put(70, absent, 5)
    later.put(71, absent, 4)
    later.put(3, values(1, 3.0))
    slab.merge_newer(later)
    slab.merge_newer(RackSecond())
    block = written(slab, 72)
    assert np.isnan(block[70, 0])
    assert block[70, 1] == 2.0
    assert block[71].tolist() == [4.0, 4.0]
    assert block[3, 0] == 3.0


def test_racks_of_two_widths_are_written_in_two_parts():
    """Sensitivity: only adjacent racks were joined, so a write took 350 times as long."""
    slab = RackSecond()
    for column in range(40):
        slab.put(column, values(2 + column % 2, float(column)))
    block = written(slab, 40)
    assert block[:, 0].tolist() == list(range(40))
    assert np.isnan(block[::2, 2]).all()
    assert len(slab._blocks) == 2
    assert np.isnan(written(slab, 1, first=60)).all()
