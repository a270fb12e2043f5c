"""power-grid-model on bare tables: the load flow of a network, without names, units or checks."""

import numpy as np
import power_grid_model as pgm

KIND, FREE = pgm.ComponentType, pgm.DatasetType.input


class Network:
    """A network in the solver's tables, some of its lines and transformers closed."""

    def __init__(self, wiring, closed):
        lines, banks = wiring.lines, wiring.transformers
        nodes, cables, units = len(wiring.voltage), len(lines.ends), len(banks.ends)
        self.loads = (nodes + cables + units + 1 + np.arange(len(wiring.load_nodes))).astype("i4")
        node = pgm.initialize_array(FREE, KIND.node, nodes)
        node["id"], node["u_rated"] = np.arange(nodes), 1e3 * wiring.voltage
        line = pgm.initialize_array(FREE, KIND.line, cables)
        line["id"] = nodes + np.arange(cables)
        line["from_node"], line["to_node"] = lines.ends.T
        line["from_status"] = line["to_status"] = closed[:cables]
        line["r1"], line["x1"], line["c1"] = (
            lines.resistance,
            lines.reactance,
            1e-6 * lines.capacitance,
        )
        line["tan1"], line["i_n"] = 0.0, lines.current
        bank = pgm.initialize_array(FREE, KIND.transformer, units)
        bank["id"] = nodes + cables + np.arange(units)
        bank["from_node"], bank["to_node"] = banks.ends.T
        bank["from_status"] = bank["to_status"] = closed[cables:]
        bank["u1"], bank["u2"] = (1e3 * banks.voltages).T
        bank["sn"], bank["uk"] = 1e6 * banks.rating, banks.short_circuit_voltage
        bank["pk"], bank["p0"], bank["i0"] = (
            1e6 * banks.load_loss,
            1e6 * banks.no_load_loss,
            banks.no_load_current,
        )
        for word in ("winding_from", "winding_to", "clock", "tap_side"):
            bank[word] = 0
        for word in ("tap_pos", "tap_min", "tap_max", "tap_nom", "tap_size"):
            bank[word] = 0
        source = pgm.initialize_array(FREE, KIND.source, 1)
        source["id"], source["node"], source["status"] = (
            nodes + cables + units,
            wiring.source_node,
            1,
        )
        source["u_ref"], source["sk"] = wiring.source_voltage, 1e6 * wiring.short_circuit_power
        source["rx_ratio"] = wiring.source_resistance_ratio
        load = pgm.initialize_array(FREE, KIND.sym_load, len(self.loads))
        load["id"], load["node"], load["status"] = self.loads, wiring.load_nodes, 1
        load["type"] = pgm.LoadGenType.const_power
        load["p_specified"] = load["q_specified"] = 0.0
        tables = [node, line, bank, source, load]
        kinds = [KIND.node, KIND.line, KIND.transformer, KIND.source, KIND.sym_load]
        self.tables = dict(zip(kinds, tables, strict=True))

    def solve(self, active, reactive):
        """Return voltages, loadings [1], losses [MW], power at the connection [MW, Mvar]."""
        model = pgm.PowerGridModel(self.tables)
        update = pgm.initialize_array(
            pgm.DatasetType.update, KIND.sym_load, (len(active), len(self.loads))
        )
        update["id"] = self.loads
        update["p_specified"], update["q_specified"] = 1e6 * active, 1e6 * reactive
        found = model.calculate_power_flow(
            update_data={KIND.sym_load: update},
            error_tolerance=1e-9,
            output_component_types={
                KIND.node: ["u_pu"],
                KIND.line: ["loading", "p_from", "p_to"],
                KIND.transformer: ["loading", "p_from", "p_to"],
                KIND.source: ["p", "q"],
            },
        )
        lines, banks, source = found[KIND.line], found[KIND.transformer], found[KIND.source]
        loss = [1e-6 * (part["p_from"] + part["p_to"]) for part in (lines, banks)]
        return (
            found[KIND.node]["u_pu"],
            np.concatenate([lines["loading"], banks["loading"]], axis=1),
            np.concatenate(loss, axis=1),
            1e-6 * source["p"][:, 0],
            1e-6 * source["q"][:, 0],
        )
