"""Deepfake detection for face videos, with heatmaps that can be verified.

    from explain_deepfakes import Detector

    prediction = Detector.load().predict("interview.mp4")
    print(prediction.verdict, prediction.fake_probability)

In the repository, the sub-packages are links to the folders beside this one.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from explain_deepfakes.pipeline.errors import UserError
    from explain_deepfakes.prediction import Detector, FacePrediction, PersonPrediction, Prediction

__all__ = ["Detector", "FacePrediction", "PersonPrediction", "Prediction", "UserError"]


def __getattr__(name: str) -> object:
    """Import the detector when it is used: `explain-deepfakes --help` must not wait for torch."""
    if name in __all__:
        from explain_deepfakes import prediction

        return getattr(prediction, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
