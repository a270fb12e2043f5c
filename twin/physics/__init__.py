"""The physics of a site as pure functions of floats and numpy arrays.

Every function broadcasts its arguments, keeps no state and knows no axis names. Units are the
canonical ones of the house; those of a single chip (W, l/min) are named where they occur.
"""

from twin.physics.numerics import FloatArray, Numeric

__all__ = ["FloatArray", "Numeric"]
