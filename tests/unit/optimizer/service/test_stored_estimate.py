"""The last estimate survives a restart, with the learned noise of every sensor."""

import json

import numpy as np
import pytest

from optimizer.service.decision_engine import read_estimate, store_estimate
from tests.support import moments
from twin.estimation.observer import estimate_state


@pytest.fixture(scope="module")
def believed():
    return estimate_state(moments.site(), moments.facts().observed)


@pytest.fixture
def kept(tmp_path, believed):
    store_estimate(tmp_path / "estimate.json", believed)
    return tmp_path / "estimate.json"


def test_estimate_is_restored_with_learned_spreads(kept, believed):
    back = read_estimate(kept, moments.site())
    assert back.state.equals(believed.state)
    assert back.standard_error == believed.standard_error
    assert back.filters.keys() == believed.filters.keys()
    assert believed.filters
    for key, memory in believed.filters.items():
        assert back.filters[key].filter_bank.bounds == memory.filter_bank.bounds
        assert back.filters[key].stuck_detector == memory.stuck_detector


@pytest.mark.parametrize("learned", [None, [], "x", [["tank_level", "tank_1", {}]], [[1, 2]]])
def test_missing_or_damaged_estimate_is_learned_again(kept, believed, learned):
    """As in a file of the previous version."""
    content = json.loads(kept.read_text())
    del content["checksum"]
    if learned is None:
        del content["learned"]
    else:
        content["learned"] = learned
    kept.write_text(json.dumps(content))
    back = read_estimate(kept, moments.site())
    assert back.state.equals(believed.state)
    assert back.filters == {}
    later = back.state.assign_coords(instant=back.state["instant"] + np.timedelta64(15, "m"))
    assert (
        estimate_state(moments.site(), later, last=back).filters.keys() == believed.filters.keys()
    )
