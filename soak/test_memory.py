"""The soak of memory: its figures, and that it finds growth."""

import numpy as np
import pytest

from soak import memory


@pytest.mark.slow
def test_memory_growth_is_reported_and_a_plateau_is_not(monkeypatch):
    """Proves: a megabyte kept by each deletion is found, and a plateau is not."""
    said = []
    assert memory.run(2, seed=1, say=said.append)["growth_mb_per_h"] == 0.0  # too short to say
    hours = iter(range(100))
    monkeypatch.setattr(memory, "_live", lambda *_: None)
    monkeypatch.setattr(memory, "_held", lambda: 200.0 + 0.9 * next(hours))
    leaking = memory.run(50, seed=3, say=said.append)
    assert (leaking["broken"], leaking["seeds_of_broken"]) == (1, [3])
    np.testing.assert_allclose(leaking["growth_mb_per_h"], 0.9)
    monkeypatch.setattr(memory, "_held", lambda: 200.0 + min(next(hours), 60))
    assert memory.run(40, seed=3, say=said.append)["broken"] == 0
    assert said[-1].endswith("260.0 MB")
