"""Accepted numbers of chips of a rack, compared with the other racks of its site."""

import pytest

from telemetry.ingest.chip_count_guard import ChipCountGuard


@pytest.mark.parametrize(("small", "chips"), [(1000, 8), (700, 4), (1000, 1)])
def test_site_with_two_rack_sizes_loses_none(small, chips):
    """Sensitivity: by the median, all large racks were refused if over half are small."""
    deep = ChipCountGuard()
    assert deep.accepts((f"a/{n}" for n in range(small)), chips)
    assert deep.accepts((f"b/{n}" for n in range(small * 9 // 10)), 72)
    assert all(deep.accepts([f"b/{n}"], 72) for n in range(small * 9 // 10))
    assert not deep.accepts(["b/0"], 4096)
