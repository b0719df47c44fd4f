"""Sampling of frames."""

EVENLY, FIRST = "evenly", "first"


def evenly_spaced(count: int, samples: int) -> list[int]:
    """Return the middle index of each of `samples` equal parts of `count` frames; all indices if there are not more frames."""
    if count <= samples:
        return list(range(count))
    return [(2 * part + 1) * count // (2 * samples) for part in range(samples)]


def sample_indices(count: int, samples: int, rule: str = EVENLY) -> list[int]:
    """Return the indices of the first frames, or of evenly spaced ones."""
    return list(range(min(count, samples))) if rule == FIRST else evenly_spaced(count, samples)
