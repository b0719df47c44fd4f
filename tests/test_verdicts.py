"""From frames to verdicts, and from verdicts to metrics."""

import numpy as np
import pytest

from explain_deepfakes.model_test_train.evaluation.params import TestParams
from explain_deepfakes.model_test_train.evaluation.testing import compute_test_metrics, labelled_videos
from explain_deepfakes.model_test_train.metrics.aggregation import (
    AGGREGATIONS,
    NO_VERDICT,
    FrameScore,
    VerdictRule,
    video_verdict,
    video_verdicts,
)
from explain_deepfakes.model_test_train.metrics.intervals import identity_groups
from explain_deepfakes.pipeline.index import Video
from explain_deepfakes.pipeline.params import load_params


def video(name: str, label: int, *identities: str) -> Video:
    method = name.split("/")[0]
    return Video(name, method, label, "test_set", identities, "v.mp4", "", "hash", "DEMO")


def frame(name: str, number: int, track: int, probability: float) -> FrameScore:
    return FrameScore(name, number, track, f"{name}/{number}_{track}.png", probability)


FAKE = video("FaceSwap/001_002", 1, "001", "002")


def test_a_video_is_as_fake_as_its_most_fake_person_whatever_the_order() -> None:
    frames = [frame(FAKE.video, n, t, p) for n, t, p in [(0, 0, 0.1), (1, 0, 0.3), (0, 1, 0.9), (1, 1, 0.7)]]
    for order in (frames, frames[::-1]):
        verdict = video_verdict(FAKE, order, VerdictRule("mean", 0.55))
        assert verdict.people == pytest.approx({0: 0.2, 1: 0.8})
        assert (verdict.verdict, verdict.outcome, verdict.fake_probability) == ("fake", "TP", pytest.approx(0.8))


def test_a_video_without_a_face_has_no_verdict_and_no_probability() -> None:
    (verdict,) = video_verdicts([FAKE], [], VerdictRule("mean", 0.5))
    assert (verdict.verdict, verdict.outcome, verdict.fake_probability) == (NO_VERDICT, "", None)


def test_the_example_is_the_most_fake_frame_of_a_fake_verdict_and_the_least_of_a_real_one() -> None:
    called_fake = video_verdict(
        FAKE, [frame(FAKE.video, n, 0, p) for n, p in enumerate((0.7, 0.95, 0.8))], VerdictRule("mean", 0.5)
    )
    called_real = video_verdict(
        FAKE, [frame(FAKE.video, n, 0, p) for n, p in enumerate((0.3, 0.05, 0.2))], VerdictRule("mean", 0.5)
    )
    assert (called_fake.example.frame, called_real.example.frame) == (1, 1)
    assert called_real.outcome == "FN"


def test_two_fakes_of_different_methods_with_the_same_stem_are_two_videos() -> None:
    twin = video("Deepfakes/001_002", 1, "001", "002")
    frames = [frame(FAKE.video, 0, 0, 0.9), frame(twin.video, 0, 0, 0.1)]
    assert [v.fake_probability for v in video_verdicts([FAKE, twin], frames, VerdictRule("mean", 0.5))] == [0.9, 0.1]
    groups = identity_groups([FAKE, twin])
    assert groups[FAKE.video] == groups[twin.video]


@pytest.mark.parametrize(
    ("rule", "frames", "expected"),
    [
        ("mean", (0.1, 0.2, 0.9), 0.4),
        ("median", (0.1, 0.2, 0.9), 0.2),
        ("top-5", (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7), 0.5),
        ("top-5", (0.2, 0.4), 0.3),
        ("published", (0.1, 0.2, 0.9), 0.4),
    ],
)
def test_a_persons_frames_become_one_probability_by_rule(rule: str, frames: tuple[float, ...], expected: float) -> None:
    assert AGGREGATIONS[rule].person(np.array(frames)) == pytest.approx(expected)


def test_the_published_rule_depends_on_the_order_of_the_people_and_ours_do_not() -> None:
    """The first person above 0.55 decides; if there is none, the mean of all."""
    for people, published in (((0.6, 0.9), 0.6), ((0.9, 0.6), 0.9), ((0.5, 0.1), 0.3), ((0.1, 0.8, 0.9), 0.8)):
        assert AGGREGATIONS["published"].video(people) == pytest.approx(published)
        for ours in ("mean", "median", "top-5"):
            assert AGGREGATIONS[ours].video(people) == max(people)


@pytest.mark.parametrize("rule", ["mean", "median", "top-5"])
def test_a_video_of_two_people_of_whom_one_is_fake_is_fake(rule: str) -> None:
    frames = [frame(FAKE.video, n, track, p) for n in range(8) for track, p in ((0, 0.1), (1, 0.9))]
    for order in (frames, frames[::-1]):
        verdict = video_verdict(FAKE, order, VerdictRule(rule, 0.5))
        assert (verdict.verdict, verdict.fake_probability) == ("fake", pytest.approx(0.9))


def test_calibration_changes_the_probability_and_never_the_verdict() -> None:
    frames = [frame(FAKE.video, n, 0, 0.7) for n in range(3)]
    for threshold, expected in ((0.6, "fake"), (0.75, "real")):
        rule = VerdictRule("mean", threshold, calibrate=lambda raw: raw / 2)
        verdict = video_verdict(FAKE, frames, rule)
        assert (verdict.verdict, verdict.raw_probability, verdict.fake_probability) == (
            expected,
            pytest.approx(0.7),
            pytest.approx(0.35),
        )
        assert verdict.people == {0: pytest.approx(0.35)}
        assert verdict.frames[0].fake_probability == 0.7


def test_within_the_band_a_verdict_is_uncertain_and_that_is_counted() -> None:
    real = video("Original/001", 0, "001")
    videos = [FAKE, real, video("FaceSwap/003_004", 1, "003", "004"), video("Original/005", 0, "005")]
    frames = [frame(v.video, 0, 0, p) for v, p in zip(videos, (0.55, 0.9, 0.1), strict=False)]
    rule = VerdictRule("mean", 0.5, band=(0.4, 0.6))
    verdicts = video_verdicts(videos, frames, rule)
    assert [v.is_uncertain for v in verdicts] == [True, False, False, False]
    params = load_params("test", TestParams, {"bootstrap": 20})
    metrics = compute_test_metrics(verdicts, rule, params)
    assert metrics["abstaining"] == {
        "uncertain": 1,
        "wrong_though_certain": {"of_real": 1, "of_fake": 1},
        "certain": {"of_real": 1, "of_fake": 1},
    }
    assert (metrics["no_verdict"], metrics["video"]["count"]) == (1, 3)
    assert [score.name for score in labelled_videos(verdicts)] == [v.video for v in videos[:3]]


def test_metrics_of_each_method_are_against_all_originals_and_same_stems_stay_apart() -> None:
    names = [("Original/001", 0), ("Original/002", 0), ("FaceSwap/001_002", 1), ("Deepfakes/001_002", 1)]
    videos = [video(name, label, *name.split("/")[1].split("_")) for name, label in names]
    frames = [frame(v.video, n, 0, p) for v, p in zip(videos, (0.1, 0.4, 0.9, 0.3), strict=True) for n in range(2)]
    rule = VerdictRule("mean", 0.5)
    metrics = compute_test_metrics(
        video_verdicts(videos, frames, rule), rule, load_params("test", TestParams, {"bootstrap": 20})
    )
    assert {name: (f["count"], f["fakes"], f["auc"]["value"]) for name, f in metrics["video_by_method"].items()} == {
        "Deepfakes": (3, 1, 0.5),
        "FaceSwap": (3, 1, 1.0),
    }
    assert (metrics["video"]["count"], metrics["frame"]["count"]) == (4, 8)
    assert {name: (f["count"], f["auc"]["value"]) for name, f in metrics["frame_by_method"].items()} == {
        "Deepfakes": (6, 0.5),
        "FaceSwap": (6, 1.0),
    }
