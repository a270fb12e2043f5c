"""Views of a run: every rack, coolant unit and chip, simulated on demand."""
