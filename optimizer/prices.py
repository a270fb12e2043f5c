"""Prices of ours: what a plan pays for what should not be, so that none fails for it."""

from typing import Final

RAMP_PRICE: Final = 1e5
"""Price of a MW beyond the ramp of the connection, which no lateness of a week outweighs: a verdict
refuses whoever buys it. [EUR MW-1]"""

RETURN_PRICE: Final = 1e4
"""Price of a MWh by which a store is outside its window still, where it was meant to be back, for
each hour: dearer than all that waits, and no plan fails for it. [EUR MWh-1 h-1]"""
