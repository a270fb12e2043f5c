"""The memory of the observer survives serialisation."""

import json

import numpy as np
import pytest

from twin.estimation.kalman_bank import NOISE_PRIORS
from twin.estimation.measurement_update import (
    restore_filter,
    serialise_filter,
    update_state_variable,
)

NOW = np.datetime64("2026-07-01T00:00", "us")


@pytest.mark.parametrize("name", sorted(NOISE_PRIORS))
def test_observer_memory_survives_serialisation(name):
    trust = NOISE_PRIORS[name].scaled(3.0)
    memory = update_state_variable(None, 1.5, now=NOW, noise_prior=trust, max_value=np.inf)
    carried = memory.predicted(1.6, 0.5, excitation=2.0, noise_prior=trust, elapsed=0.25)
    memory = update_state_variable(carried, 1.7, now=NOW, noise_prior=trust, max_value=np.inf)
    back = restore_filter(json.loads(json.dumps(serialise_filter(memory))), trust)
    assert back.filter_bank.mean == memory.filter_bank.mean
    assert (
        back.filter_bank.equivalent_standard_error == memory.filter_bank.equivalent_standard_error
    )
    assert back.stuck_detector == memory.stuck_detector
    assert (back.mean_excitation, back.unseen_time, back.contradiction_count) == (
        memory.mean_excitation,
        0.0,
        0,
    )


@pytest.mark.parametrize("broken", [{}, [], {"bank": {}}, "memory"])
def test_invalid_memory_is_refused(broken):
    with pytest.raises(ValueError, match="memory"):
        restore_filter(broken, NOISE_PRIORS["tank_level"])


def test_memory_of_another_kind_of_store_is_refused():
    trust = NOISE_PRIORS["tank_level"]
    memory = serialise_filter(
        update_state_variable(None, 0.5, now=NOW, noise_prior=trust, max_value=np.inf)
    )
    with pytest.raises(ValueError, match="another kind"):
        restore_filter(memory, NOISE_PRIORS["cooling_plant_output"])
    memory["bank"]["weight"][0][0] = float("nan")
    with pytest.raises(ValueError, match="filters"):
        restore_filter(memory, trust)
