"""Parts that couple sites: written after them, priced by accounts of their own, compiled alike."""

from dataclasses import dataclass, replace

import numpy as np
import pyomo.environ as pyo
import pytest

from optimizer.compiler.structure import compile_model
from optimizer.model import formulation
from optimizer.model.assembler import add_param, add_var
from optimizer.model.model_data import build_model_data
from optimizer.model.objective import account_weights
from optimizer.solver.highs import LpSolver
from tests.support.hand import outlook, problem, site

NAMES = ("north", "south")
JOBS = [("batch", [4.0], [4.0], 10.0)]


@dataclass(frozen=True, kw_only=True)
class Cap:
    """A limit on the import of all sites together, which may be exceeded for money."""

    sites: tuple[str, ...]


def cap(block, shape, ledger, *, sites):
    assert tuple(sites) == shape.sites
    model = block.model()
    block.most, block.price = add_param(), add_param()
    add_var(block, "over", model.time)
    one, other = (model.component(name).grid for name in shape.sites)
    block.together = pyo.Constraint(
        model.time,
        rule=lambda b, t: one.import_power[t] + other.import_power[t] - b.over[t] <= b.most,
    )
    ledger.add_cost("peak", lambda t: block.price * block.over[t])


@pytest.fixture
def problems(monkeypatch):
    """Return two sites with 4 MWh to do in an hour, at 10 and 20 EUR/MWh; undone they cost 100."""
    monkeypatch.setattr(formulation, "COUPLING_BUILDERS", {Cap: cap})
    where = [site().model_copy(update={"name": name}) for name in NAMES]
    prices = ([10.0], [20.0])
    return [
        build_model_data(problem(one, outlook(price, jobs=JOBS)))
        for one, price in zip(where, prices, strict=True)
    ]


def solve(problems, **numbers):
    shape = replace(formulation.signature_of(*problems), couplings=(("cap", Cap(sites=NAMES)),))
    given = {f"cap.{name}": np.array(value) for name, value in numbers.items()}
    arrays = compile_model(shape).with_parameter_values(
        formulation.parameter_values(*problems) | given
    )
    own = account_weights(problems[0].problem.weights)
    prices = own | {f"{s}.{name}": price for s in NAMES for name, price in own.items()}
    answer = LpSolver(arrays, prices).run()
    return answer, {name: answer.values[at] for name, at in arrays.columns_by_variable.items()}


def test_sites_share_a_common_import_cap(problems):
    """Proves: 4 + 4 MW under a cap of 6 MW leave 2 MWh late, at 100 each, where power is dearer:
    4 x 10 + 2 x 20 + 2 x 100. Sensitivity: without the cap 4 x 10 + 4 x 20 = 120.
    """
    answer, values = solve(problems, most=6.0, price=1e4)
    assert values["north.grid.import_power"] == pytest.approx([4.0])
    assert values["south.grid.import_power"] == pytest.approx([2.0])
    assert answer.objective == pytest.approx(280.0)


def test_coupling_has_its_own_accounts(problems):
    """Proves: at 5 EUR for a MW over the cap no work waits: 40 + 80 + 2 x 5."""
    answer, values = solve(problems, most=6.0, price=5.0)
    assert values["cap.over"] == pytest.approx([2.0])
    assert answer.objective == pytest.approx(130.0)


def test_model_without_couplings_is_unchanged(problems):
    shape = formulation.signature_of(*problems)
    assert shape.couplings == ()
    model = formulation.build_model(shape)
    assert [block.local_name for block in model.component_objects(pyo.Block, descend_into=False)]
    assert model.component("account") is None
