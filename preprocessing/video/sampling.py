"""Sampling of frames."""


def evenly_spaced(count: int, samples: int) -> list[int]:
    """Return the middle index of each of `samples` equal parts of `count` frames; all indices if there are not more frames."""
    if count <= samples:
        return list(range(count))
    return [(2 * part + 1) * count // (2 * samples) for part in range(samples)]
