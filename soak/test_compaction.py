"""A small sample of the soak of compaction; `./dev soak compaction` is the whole of it."""

import pytest

from soak import compaction


@pytest.mark.long
def test_kills_during_compaction_lose_nothing():
    figures = compaction.run(10, seed=5, say=lambda _: None)
    assert figures["count"] == 10
    assert figures["faults"] == []
    assert figures["within_a_compaction"] > 0


def test_missing_archive_is_a_fault(tmp_path):
    """Proves that the check can fail: an archive of too little, and one of wrong values."""
    (tmp_path / "done.json").write_text(f'{{"second": {compaction.START + 7200}}}')
    assert compaction.check(tmp_path) == ["it is gone"]
