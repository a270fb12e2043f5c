"""Prices of ours: what a plan pays for what should not be, so that none fails for it."""

from typing import Final

RAMP_PRICE: Final = 1e5
"""Price of a MW beyond the ramp of the connection, which no lateness of a week outweighs: a verdict
refuses whoever buys it. [EUR MW-1]"""
