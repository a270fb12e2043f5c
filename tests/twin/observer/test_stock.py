"""What is said of a stock, within what it can be."""

import numpy as np

from twin.observer.bank import Bank
from twin.observer.stock import Carried, Memory, doubts
from twin.observer.trust import TRUST


def said(spread, size):
    """Return what is said of a stock that nobody measures, known to some spread. [MWh]"""
    memory = Memory(bank=Bank.at(0.9932, spread, TRUST["battery_level"].scaled(1.6)))
    carried = Carried(memory=memory, bank=memory.bank, moved=0.0)
    return list(doubts("level", carried, memory, seen=np.nan, unit="MWh", size=size))


def test_a_stock_is_known_within_its_own_size_at_worst():
    """Sensitivity: a battery of 1.6 MWh was told give or take 8e+03."""
    assert said(0.1, 1.6) == ["level is not measured: 0.9932 MWh by the model, give or take 0.1"]
    assert said(8e3, 1.6) == ["level is not measured: anything from 0 to 1.6 MWh by the model"]
