"""What is believed of sensors and models before anything is read of them."""

from typing import Final

import numpy as np

READ: Final = 2.0
"""How much the size of the noise is believed before anything is read, in pairs of readings. [1]"""

HEALTH: Final = np.array([0.98, 0.02])
"""Share of sensors that are well, and that drift, at any time; ours. [1]"""

MENDED: Final = 72.0
"""Time within which a sensor that drifts is found and mended; ours. With the share above a sensor
begins to drift twice a year. [h]"""

SPEED: Final = 2.0
"""Standard deviation of how fast a sensor drifts, in its standard errors an hour. [h-1]"""

SWERVE: Final = 0.1
"""How that changes in an hour. [h-3/2]"""

BIAS: Final = 1.5
"""Standard deviation of how far off the model settles, in errors of the sensor; ours. [1]"""

STEADY: Final = 72.0
"""Time within which that becomes another: with the weather. [h]"""

SOON: Final = 0.25
"""Time over which the noise of a model gathers that does not remember where it began. [h]"""

LEARNED: Final = 168.0
"""Time within which noise becomes another: a season, a load. [h]"""

WILD: Final = 1e-3
"""Share of readings that are wild: neither noise nor drift. [1]"""

TELLING: Final = 9.0
"""Square of a reading's error, beside what is expected, from which it tells no more of the noise:
three standard errors. [1]"""

REACH: Final = 20.0
"""How far wild readings go, in spreads that are useless. [1]"""
