"""A shape passes from the solver process to the service, which loads no Pyomo for it."""

import copy
import pickle
import subprocess
import sys

import pytest

from optimizer.model.rows import ModelSignature, SiteSignature
from optimizer.planner.planner import decide
from tests.support import moments

SHAPE = ModelSignature(
    interval_count=4, sites=(SiteSignature(name="a", components=(("work", 1),)),)
)

LOADING = """
import pickle, sys
import optimizer.service.daemon
decision = pickle.load(sys.stdin.buffer)
again = pickle.dumps(pickle.loads(pickle.dumps(decision)))
assert decision.schedule.sizes["time"] > 0
assert not {"pyomo", "highspy"} & set(sys.modules), "loaded"
sys.stdout.buffer.write(again)
"""
"""How a service uses a decision: receive it, follow it, plan again from it."""


@pytest.mark.slow  # a process that starts
def test_service_with_a_decision_loads_no_pyomo():
    made = decide(moments.asked())
    result = subprocess.run(
        [sys.executable, "-c", LOADING], input=pickle.dumps(made), capture_output=True, check=True
    )
    back = pickle.loads(result.stdout)
    assert back.warm_start.model_signature == made.warm_start.model_signature
    assert back.warm_start.model_signature.couplings == ()


def _sent(shape):
    return pickle.loads(pickle.dumps(shape))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, _sent])
def test_copy_of_a_shape_is_equal_with_equal_hash(copied):
    assert copied(copied(SHAPE)) == SHAPE
    assert hash(copied(SHAPE)) == hash(SHAPE)
    assert repr(copied(SHAPE)) == repr(SHAPE)


def test_shape_has_no_other_attributes():
    with pytest.raises(AttributeError, match="width"):
        SHAPE.width  # noqa: B018
    with pytest.raises(AttributeError, match="width"):
        copy.copy(SHAPE).width  # noqa: B018
