"""Loading: the module comes whole, the collector is as before, and no start loads too much."""

import gc
import json
import subprocess
import sys

import pytest

from optimizer.module_loading import import_without_gc


@pytest.mark.parametrize("is_on", [True, False])
def test_garbage_collector_state_is_restored(is_on):
    was_on = gc.isenabled()
    try:
        (gc.enable if is_on else gc.disable)()
        assert import_without_gc("json") is json
        with pytest.raises(ModuleNotFoundError):
            import_without_gc("no_such_module")
        assert gc.isenabled() == is_on
    finally:
        (gc.enable if was_on else gc.disable)()
        gc.unfreeze()


@pytest.mark.slow
def test_service_does_not_load_the_solver():
    """Pyomo takes a third of a start, and only the process of the solver uses it."""
    result = subprocess.run(
        [sys.executable, "-c", "import sys, optimizer.service.startup; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"pyomo", "highspy"} & set(result.stdout.split())
