"""Localisation: a heatmap and the pixels that were really changed -> how much of the heat lies where it should."""

import cv2
import numpy as np

from explain_model.maps.heatmaps import peak, shares_of

HOT = 0.5  # heat of a place with three times its fair share
BORDER_SHARE = 0.04  # of the crop's side: how far the border of a changed region reaches, inwards and outwards
FIGURES = {
    "peak": "the peak lies in the changed region",
    "mass": "share of the relevancy in it",
    "rank": "of as many hottest pixels as were changed, the share that was",
    "iou": "overlap of the hot pixels (3x) with it",
    "interior": "share of the relevancy well inside",
    "border": "share of the relevancy around its border",
}


def located(heat: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Each of the figures for one face; heat and mask (height, width)."""
    x, y = peak(heat)
    shares = shares_of(heat)
    area = int(mask.sum())
    hottest = np.argsort(-heat, axis=None, kind="stable")[:area]
    hot = heat >= HOT
    border = border_of(mask)
    return {
        "peak": float(mask[y, x]),
        "mass": float(shares[mask].sum()),
        "rank": float(mask.flat[hottest].mean()) if area else np.nan,
        "iou": float((hot & mask).sum() / max(1, (hot | mask).sum())),
        "interior": float(shares[mask & ~border].sum()),
        "border": float(shares[border].sum()),
    }


def border_of(mask: np.ndarray) -> np.ndarray:
    """Where a blend may show: the pixels next to the edge of the changed region, on both sides."""
    reach = max(1, round(BORDER_SHARE * max(mask.shape)))
    around = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    whole = mask.astype(np.uint8)
    return cv2.dilate(whole, around) > cv2.erode(whole, around)
