"""Pieces of a chain that are held while a search goes on."""

import numpy as np

from optimizer.solver.solution import FixedSegments


def test_piece_without_width_is_left_at_once():
    """Proves: before and behind what may be asked for there are pieces that are none.

    Sensitivity: both empty and full, one was never left, and the output stayed at the least.
    """
    held = FixedSegments(
        column_names=("one.segment",),
        fixed_intervals=np.arange(3),
        segment_numbers=np.array([1, 0, 3]),
        segment_widths=np.array([[0.0, 2.0, 3.0, 0.0]] * 3),
        is_ordered=True,
    )
    values = {"one.segment": np.array([[0.0, 0.0, 0.0, 0.0], [0.0] * 4, [0.0, 2.0, 3.0, 0.0]])}
    assert held.segments_to_try(values, 0).tolist() == [1, 1, 2]
    full = {"one.segment": np.array([[0.0, 2.0, 0.0, 0.0]] * 3)}
    assert held.segments_to_try(full, 0).tolist()[0] == 2
