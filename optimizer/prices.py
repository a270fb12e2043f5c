"""Prices of ours: what a plan pays for what should not be, so that none fails for it."""

from typing import Final

RAMP_PRICE: Final = 1e4
"""Price of a MW beyond the ramp of the connection. [EUR MW-1]"""
