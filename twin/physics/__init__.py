"""The physics of a site as pure functions of floats and numpy arrays.

Functions broadcast their arguments, keep no state and know no axis names. Units are canonical;
those of a single chip (W, l/min) are named where they occur.
"""

from twin.physics.numerics import FloatArray, Numeric

__all__ = ["FloatArray", "Numeric"]
