"""Which of a number of frames to take."""


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """The middles of `wanted` equal parts of `count` frames; all of them if there are no more."""
    if count <= wanted:
        return list(range(count))
    return [(2 * part + 1) * count // (2 * wanted) for part in range(wanted)]
