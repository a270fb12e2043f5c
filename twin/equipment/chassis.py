"""The chassis of an exascale cabinet: nodes behind converters, behind rectifiers that share."""

from typing import Annotated

import numpy as np

from twin.equipment.declaration import Declared
from twin.physics import FloatArray, electric
from twin.units import Quantity


class Converter(Declared):
    """A converter that uses a fixed power and a share of what it draws."""

    own_power: Annotated[float, Quantity("MW", "used at every load", at_least=0)]
    efficiency: Annotated[
        float, Quantity("1", "output and own power over input", above=0.5, at_most=1)
    ]


class Node(Declared):
    """One node: processors between idle and full, and what draws the same always."""

    cpus: Annotated[int, Quantity("1", "number of CPUs", at_least=0)]
    cpu_idle: Annotated[float, Quantity("MW", "draw of a CPU that waits", at_least=0)]
    cpu_full: Annotated[float, Quantity("MW", "draw of a CPU at full work", at_least=0)]
    gpus: Annotated[int, Quantity("1", "number of accelerators", at_least=0)]
    gpu_idle: Annotated[float, Quantity("MW", "draw of an accelerator that waits", at_least=0)]
    gpu_full: Annotated[float, Quantity("MW", "draw of an accelerator at full work", at_least=0)]
    memory: Annotated[float, Quantity("MW", "draw of the memory", at_least=0)]
    network: Annotated[float, Quantity("MW", "draw of all network cards", at_least=0)]
    storage: Annotated[float, Quantity("MW", "draw of the local storage", at_least=0)]

    def power(self, cpu_share: FloatArray | float, gpu_share: FloatArray | float) -> FloatArray:
        """Return the power of a node at shares of its processors' ranges. [MW]"""
        cpu = self.cpu_idle + cpu_share * (self.cpu_full - self.cpu_idle)
        gpu = self.gpu_idle + gpu_share * (self.gpu_full - self.gpu_idle)
        fixed = self.memory + self.network + self.storage
        return np.asarray(self.cpus * cpu + self.gpus * gpu + fixed)


class Chassis(Declared):
    """Nodes and switches fed by rectifiers that share the load equally; a cabinet holds several."""

    count: Annotated[int, Quantity("1", "chassis in a cabinet", at_least=1)]
    nodes: Annotated[int, Quantity("1", "nodes in a chassis", at_least=1)]
    node: Node
    node_converter: Converter
    switches: Annotated[int, Quantity("1", "switches in a chassis", at_least=0)]
    switch: Annotated[float, Quantity("MW", "draw of one switch", at_least=0)]
    rectifiers: Annotated[int, Quantity("1", "rectifiers in a chassis", at_least=1)]
    rectifier: Converter

    @property
    def chips(self) -> int:
        """Accelerators in a cabinet. [1]"""
        return self.count * self.nodes * self.node.gpus

    def cabinet_power(
        self, cpu_share: FloatArray | float, gpu_share: FloatArray | float
    ) -> FloatArray:
        r"""Return what a cabinet draws.

        Parameters
        ----------
        cpu_share, gpu_share
            Where the processors stand between idle, 0, and full, 1. [1]

        Returns
        -------
        numpy.ndarray
            Power at the inlets of the rectifiers. [MW]

        Notes
        -----
        Every converter draws :math:`(P + P_o) / \eta`, see
        :func:`twin.physics.electric.conversion_power`.
        """
        node = _drawn(self.node_converter, self.node.power(cpu_share, gpu_share))
        shared = (self.nodes * node + self.switches * self.switch) / self.rectifiers
        return self.count * self.rectifiers * _drawn(self.rectifier, shared)


def _drawn(converter: Converter, output: FloatArray) -> FloatArray:
    return np.asarray(
        electric.conversion_power(output, converter.efficiency, offset=converter.own_power)
    )
