"""Solve networks with pandapower: JSON in, JSON out; runs in an environment of its own.

Input: a list of {wiring, active, reactive, closed}, the wiring as twin.physics.load_flow_equations
names it.
"""

import json
import sys

import numpy as np
import pandapower as pp


def flow(case):
    """Return the voltages and flows of one case."""
    wiring = case["wiring"]
    net = pp.create_empty_network()
    nodes = [pp.create_bus(net, vn_kv=voltage) for voltage in wiring["voltage"]]
    behind(net, wiring, nodes)
    lines, transformers = wiring["lines"], wiring["transformers"]
    count = len(lines["ends"])
    for number, (one, other) in enumerate(lines["ends"]):
        pp.create_line_from_parameters(
            net,
            nodes[one],
            nodes[other],
            length_km=1.0,
            r_ohm_per_km=lines["resistance"][number],
            x_ohm_per_km=lines["reactance"][number],
            c_nf_per_km=1e3 * lines["capacitance"][number],
            max_i_ka=lines["current"][number] / 1e3,
            in_service=case["closed"][number],
        )
    for number, (high, low) in enumerate(transformers["ends"]):
        rating = transformers["rating"][number]
        pp.create_transformer_from_parameters(
            net,
            nodes[high],
            nodes[low],
            sn_mva=rating,
            vn_hv_kv=transformers["voltages"][number][0],
            vn_lv_kv=transformers["voltages"][number][1],
            vk_percent=100.0 * transformers["short_circuit_voltage"][number],
            vkr_percent=100.0 * transformers["load_loss"][number] / rating,
            pfe_kw=1e3 * transformers["no_load_loss"][number],
            i0_percent=100.0 * transformers["no_load_current"][number],
            shift_degree=0.0,
            in_service=case["closed"][count + number],
        )
    for node, active, reactive in zip(
        wiring["load_nodes"], case["active"], case["reactive"], strict=True
    ):
        pp.create_load(net, nodes[node], p_mw=active, q_mvar=reactive)
    pp.runpp(net, trafo_model="pi", trafo_loading="power", numba=False, tolerance_mva=1e-9)
    return {
        "voltage": np.nan_to_num(net.res_bus.vm_pu.to_numpy()[: len(nodes)]).tolist(),
        "loading": [*(net.res_line.loading_percent / 100), *(net.res_trafo.loading_percent / 100)],
        "loss": [*net.res_line.pl_mw, *net.res_trafo.pl_mw],
        "active": -float(net.res_impedance.p_to_mw.iloc[0]),
        "reactive": -float(net.res_impedance.q_to_mvar.iloc[0]),
    }


def behind(net, wiring, nodes):
    """Put the grid behind its short-circuit impedance."""
    source = nodes[wiring["source_node"]]
    grid = pp.create_bus(net, vn_kv=wiring["voltage"][wiring["source_node"]])
    pp.create_ext_grid(net, grid, vm_pu=wiring["source_voltage"])
    reactance = 1.0 / np.hypot(1.0, wiring["source_resistance_ratio"])
    resistance = wiring["source_resistance_ratio"] * reactance
    pp.create_impedance(
        net, grid, source, resistance, reactance, sn_mva=wiring["short_circuit_power"]
    )


json.dump([flow(case) for case in json.load(sys.stdin)], sys.stdout)
