"""Every chassis of every cabinet, one step after another: a kernel, compiled where numba is."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twin.physics.numerics import Float32Array

type WorkArray = NDArray[np.floating] | NDArray[np.integer]


class Plane(NamedTuple):
    """Power of a chassis over the work of its processors, which its converters keep straight.

    Attributes
    ----------
    base
        With both waiting. [MW]
    cpu, gpu
        What full work of one adds while the other waits. [MW]
    both
        What full work of both adds beyond that. [MW]
    """

    base: float
    cpu: float
    gpu: float
    both: float


def add_chassis(plane: Plane, work: tuple[WorkArray, WorkArray], racks: Float32Array) -> None:
    r"""Add up the power of the chassis of all cabinets.

    Parameters
    ----------
    plane
        Power of one chassis.
    work
        Where CPUs and GPUs stand between idle and full, ``(time, rack, chassis)``, in the unit of
        the plane. [1]
    racks
        To be filled, ``(time, rack)``. [MW]

    Returns
    -------
    None
        ``racks`` [MW] is written.

    Notes
    -----
    :math:`P = \sum_k a + b x_k + c y_k + d x_k y_k`, exact where a chassis is straight in each.
    """
    cpu, gpu = work
    count = cpu.shape[2]
    for t in range(cpu.shape[0]):
        for r in range(cpu.shape[1]):
            x, y, both = 0.0, 0.0, 0.0
            for k in range(count):
                x += cpu[t, r, k]
                y += gpu[t, r, k]
            if plane.both != 0.0:
                for k in range(count):
                    both += np.float64(cpu[t, r, k]) * gpu[t, r, k]
            racks[t, r] = count * plane.base + plane.cpu * x + plane.gpu * y + plane.both * both
