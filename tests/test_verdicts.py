"""From frames to a verdict, and from verdicts to figures."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from model_test_train.figures import best_threshold, figures, identity_groups
from model_test_train.verdicts import NO_VERDICT, FrameScore, judge_video, judge_videos
from pipeline.index import Video


def video(name: str, label: int, *identities: str) -> Video:
    method = name.split("/")[0]
    return Video(name, method, label, "test_set", identities, "v.mp4", "", "hash", "DEMO")


def frame(name: str, number: int, track: int, probability: float) -> FrameScore:
    return FrameScore(name, number, track, f"{name}/{number}_{track}.png", probability)


FAKE = video("FaceSwap/001_002", 1, "001", "002")


def test_a_video_is_as_fake_as_its_most_fake_person_whatever_the_order() -> None:
    frames = [frame(FAKE.video, n, t, p) for n, t, p in [(0, 0, 0.1), (1, 0, 0.3), (0, 1, 0.9), (1, 1, 0.7)]]
    for order in (frames, frames[::-1]):
        verdict = judge_video(FAKE, order, 0.55, "mean")
        assert verdict.people == pytest.approx({0: 0.2, 1: 0.8})
        assert (verdict.verdict, verdict.outcome, verdict.fake_probability) == ("fake", "TP", pytest.approx(0.8))


def test_a_video_without_a_face_has_no_verdict_and_no_probability() -> None:
    (verdict,) = judge_videos([FAKE], [], 0.5, "mean")
    assert (verdict.verdict, verdict.outcome, verdict.fake_probability) == (NO_VERDICT, "", None)


def test_the_example_is_the_most_fake_frame_of_a_fake_verdict_and_the_least_of_a_real_one() -> None:
    called_fake = judge_video(FAKE, [frame(FAKE.video, n, 0, p) for n, p in enumerate((0.7, 0.95, 0.8))], 0.5, "mean")
    called_real = judge_video(FAKE, [frame(FAKE.video, n, 0, p) for n, p in enumerate((0.3, 0.05, 0.2))], 0.5, "mean")
    assert (called_fake.example.frame, called_real.example.frame) == (1, 1)
    assert called_real.outcome == "FN"


def test_two_fakes_of_different_methods_with_the_same_stem_are_two_videos() -> None:
    twin = video("Deepfakes/001_002", 1, "001", "002")
    frames = [frame(FAKE.video, 0, 0, 0.9), frame(twin.video, 0, 0, 0.1)]
    assert [v.fake_probability for v in judge_videos([FAKE, twin], frames, 0.5, "mean")] == [0.9, 0.1]


def test_videos_that_share_a_person_even_through_others_are_one_group() -> None:
    videos = [video(f"M/{n}", 1, *people) for n, people in enumerate([("a", "b"), ("c", "d"), ("b", "e"), ("e", "f")])]
    groups = identity_groups(videos)
    assert groups["M/0"] == groups["M/2"] == groups["M/3"] != groups["M/1"]


def test_figures_agree_with_scikit_learn_and_their_interval_holds_them() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 200)
    probabilities = np.clip(0.3 * labels + generator.random(200) * 0.7, 0, 1)
    found = figures(labels, probabilities, np.arange(200), 0.5, draws=200, seed=0)
    auc = found["auc"]
    assert auc["value"] == pytest.approx(roc_auc_score(labels, probabilities), abs=1e-6)  # type: ignore[index]
    assert auc["low"] < auc["value"] < auc["high"]  # type: ignore[index]
    assert found["accuracy"]["value"] == pytest.approx(((probabilities > 0.5) == labels).mean(), abs=1e-6)  # type: ignore[index]


def test_with_one_class_only_there_is_no_auc() -> None:
    found = figures(np.ones(5, int), np.linspace(0, 1, 5), np.arange(5), 0.5, draws=20, seed=0)
    assert found["auc"] == {"value": None, "low": None, "high": None}


def test_intervals_are_wider_when_videos_share_their_people() -> None:
    labels = np.tile([0, 1], 60)
    probabilities = np.repeat(np.random.default_rng(1).random(12), 10) * 0.5 + labels * 0.2
    alone = figures(labels, probabilities, np.arange(120), 0.5, draws=300, seed=0)["accuracy"]
    together = figures(labels, probabilities, np.repeat(np.arange(12), 10), 0.5, draws=300, seed=0)["accuracy"]
    width = [figure["high"] - figure["low"] for figure in (alone, together)]  # type: ignore[index]
    assert width[1] > 1.5 * width[0]


def test_the_threshold_parts_the_classes_in_the_middle_of_the_gap() -> None:
    labels = np.array([0, 0, 0, 1, 1])
    assert best_threshold(labels, np.array([0.1, 0.2, 0.3, 0.7, 0.9])) == pytest.approx(0.5)
    assert best_threshold(labels[:3], np.array([0.1, 0.2, 0.3])) == 0.5
