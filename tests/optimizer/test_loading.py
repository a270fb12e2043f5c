"""Loading: the module comes whole, and the collector of garbage is as it was before."""

import gc
import json

import pytest

from optimizer.loading import load


@pytest.mark.parametrize("is_on", [True, False])
def test_the_collector_is_as_before(is_on):
    was_on = gc.isenabled()
    try:
        (gc.enable if is_on else gc.disable)()
        assert load("json") is json
        with pytest.raises(ModuleNotFoundError):
            load("no_such_module")
        assert gc.isenabled() == is_on
    finally:
        (gc.enable if was_on else gc.disable)()
        gc.unfreeze()
