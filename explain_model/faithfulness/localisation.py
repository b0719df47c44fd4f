"""Localisation metrics: how much of a heatmap lies on the manipulated pixels."""

import cv2
import numpy as np

from explain_deepfakes.explain_model.maps.heatmaps import peak, relevancy_shares

HOT = 0.5  # heat of a position with three times its fair share
BORDER_SHARE = 0.04  # width of the border of the manipulated region, inwards and outwards, relative to the crop's side
LOCALISATION_METRICS = (
    "peak",  # 1 if the peak lies in the manipulated region
    "mass",  # share of the relevancy in the region
    "rank",  # share of manipulated pixels among the N hottest, where N is the size of the region
    "iou",  # intersection over union of the hot pixels (at least 3x) and the region
    "interior",  # share of the relevancy in the region, without its border
    "border",  # share of the relevancy at the region's border
)


def localisation_metrics(heat: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """LOCALISATION_METRICS of one face; heat and mask are (height, width)."""
    x, y = peak(heat)
    shares = relevancy_shares(heat)
    area = int(mask.sum())
    hottest = np.argsort(-heat, axis=None, kind="stable")[:area]
    hot = heat >= HOT
    border = border_pixels(mask)
    return {
        "peak": float(mask[y, x]),
        "mass": float(shares[mask].sum()),
        "rank": float(mask.flat[hottest].mean()) if area else np.nan,
        "iou": float((hot & mask).sum() / max(1, (hot | mask).sum())),
        "interior": float(shares[mask & ~border].sum()),
        "border": float(shares[border].sum()),
    }


def border_pixels(mask: np.ndarray) -> np.ndarray:
    """Pixels near the edge of the manipulated region, on both sides, where blending may be visible (height, width), bool."""
    reach = max(1, round(BORDER_SHARE * max(mask.shape)))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    region = mask.astype(np.uint8)
    return cv2.dilate(region, kernel) > cv2.erode(region, kernel)
