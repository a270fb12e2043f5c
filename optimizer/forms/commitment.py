"""A promise about a flow: here a charge on the greatest import of the billing period."""

import pyomo.environ as pyo

from optimizer.inputs import Inputs
from optimizer.ledger import Ledger
from twin.relations import Commitment


def build(block: pyo.Block, commitment: Commitment, *, ledger: Ledger, inputs: Inputs) -> None:
    """Price what the greatest import will exceed the running peak by.

    Parameters
    ----------
    block
        Empty block of the promise; the exchange it is about must stand before it.
    commitment
        The promise.
    ledger
        Where the price is paid.
    inputs
        Hold the running peak; a plan stays below it by the margin of peaks, since the plant
        will not follow it to the megawatt.
    """
    model = block.model()
    flow = model.component(commitment.owner).import_power
    keep = 1.0 - inputs.problem.margins.peak
    peak = keep * float(inputs.problem.state["peak_power"])
    block.peak_excess = pyo.Var(domain=pyo.NonNegativeReals, doc="MW")
    block.below_peak = pyo.Constraint(model.time, rule=lambda b, t: flow[t] <= peak + b.peak_excess)
    ledger.pay_once("peak", lambda: commitment.price * block.peak_excess)
