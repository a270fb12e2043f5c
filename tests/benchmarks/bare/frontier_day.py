"""The power of every chassis of Frontier over a day of seconds, on bare compiled arrays."""

import numba
import numpy as np

RACKS, CHASSIS, NODES, SWITCHES, RECTIFIERS = 74, 8, 16, 4, 4
CPU_IDLE, CPU_FULL, GPU_IDLE, GPU_FULL = 90.0, 280.0, 88.0, 560.0  # W
FIXED = 74.26 + 4 * 20.0 + 30.0  # memory, network cards, storage [W]
UNITS, PUMP = 25, 8473.47  # CDUs, W each


@numba.njit(cache=True, fastmath=True)
def chain(cpu, gpu, racks, site):
    """Fill the power of racks and site [MW] from the percentages of the processors' ranges."""
    for t in range(cpu.shape[0]):
        total = 0.0
        for r in range(RACKS):
            power = 0.0
            for k in range(r * CHASSIS, (r + 1) * CHASSIS):
                node = CPU_IDLE + 0.01 * cpu[t, k] * (CPU_FULL - CPU_IDLE)
                node += 4.0 * (GPU_IDLE + 0.01 * gpu[t, k] * (GPU_FULL - GPU_IDLE)) + FIXED
                shared = (NODES * (node + 13.0) / 0.98 + SWITCHES * 250.0) / RECTIFIERS
                power += RECTIFIERS * (shared + 17.0) / 0.96
            racks[t, r] = 1e-6 * power
            total += power
        site[t] = 1e-6 * (total + UNITS * PUMP)


def run(cpu, gpu):
    """Return the power of the racks, float32 as ours, and of the site. [MW]"""
    racks = np.empty((len(cpu), RACKS), np.float32)
    site = np.empty(len(cpu))
    chain(cpu, gpu, racks, site)
    return racks, site
