"""Assignment of faces to people at the lowest total cost."""

import numpy as np
from numpy.typing import NDArray


def lowest_cost_pairs(costs: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Return the pairs (row, column) that `linear_sum_assignment` of SciPy chooses, each row and column at most once."""
    if not costs.size:
        return []
    if 1 in costs.shape:  # usual, and then importing the library would take longer than all of the tracking
        row, column = np.unravel_index(costs.argmin(), costs.shape)
        return [(int(row), int(column))]
    from scipy.optimize import linear_sum_assignment

    return [(int(row), int(column)) for row, column in zip(*linear_sum_assignment(costs), strict=True)]
