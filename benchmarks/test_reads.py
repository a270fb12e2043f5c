"""The bench of reads on a small archive: stored values are read back one by one."""

import pytest

from benchmarks import reads


@pytest.mark.slow
def test_generated_archive_is_read_back(tmp_path, monkeypatch):
    """An archive of three racks; each bench holds what it reads to what was sent."""
    monkeypatch.setenv(reads.NAME, str(tmp_path))
    monkeypatch.setattr(reads, "RACKS", 3)
    monkeypatch.setattr(reads, "LAID", 3)
    monkeypatch.setattr(reads, "LABELS", reads.LABELS[:3])
    _, known = reads.made()
    assert 0.5 < known["bytes_a_value"] < 3.0
    assert known["bytes"] > known["bytes_a_value"] * known["values_of_the_hour"]
    for bench in reads.BENCHES:
        assert bench.ours(None).value >= 0.0  # a read may be shorter than a tick of the clock
    monkeypatch.setattr(reads, "expected", lambda second, *_: 0.0 * second)
    with pytest.raises(AssertionError):
        reads.reading(reads.chip_day, reads.chip_day_told, is_cold=False)(None)
    monkeypatch.setattr(reads, "RACKS", 4)
    with pytest.raises(ValueError, match="has 3 racks"):
        reads.made()
