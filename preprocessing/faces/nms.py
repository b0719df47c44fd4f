"""Non-maximum suppression in several pictures at once: `batched_nms` of torchvision, without importing torchvision.

Only its compiled library is loaded. The Python package takes seconds to import, because it imports the compiler of torch.
"""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

MAX_TOGETHER = 1000  # boxes; more are suppressed picture by picture, as in torchvision


@cache
def _load_nms() -> Callable[[Tensor, Tensor, float], Tensor]:
    spec = find_spec("torchvision")
    assert spec is not None
    assert spec.origin is not None
    (library,) = Path(spec.origin).parent.glob("_C*.*")  # _C.so or _C_stable.so
    torch.ops.load_library(library)
    nms: Callable[[Tensor, Tensor, float], Tensor] = torch.ops.torchvision.nms
    return nms


def batched_nms(boxes: Tensor, scores: Tensor, owners: Tensor, threshold: float) -> Tensor:
    """Indices of the boxes (n, 4) that are kept in each picture, sorted by descending score; `owners` has their pictures."""
    nms = _load_nms()
    if not len(boxes):
        return owners
    if len(boxes) <= MAX_TOGETHER:
        apart = owners.to(boxes) * (boxes.max() + 1)  # no box overlaps with one of another picture
        return nms(boxes + apart[:, None], scores, threshold)
    by_picture = [torch.where(owners == owner)[0] for owner in owners.unique()]
    kept = torch.cat([rows[nms(boxes[rows], scores[rows], threshold)] for rows in by_picture]).sort()[0]
    return kept[scores[kept].sort(descending=True)[1]]
