"""Metrics agree with scikit-learn, scipy or a closed form; confidence intervals and tests have the stated error rates."""

import warnings

import numpy as np
import pytest
from scipy.stats import beta, norm
from sklearn import metrics

from explain_deepfakes.model_test_train.metrics.calibration import Calibration
from explain_deepfakes.model_test_train.metrics.comparison import compare, delong_interval, holm_corrected, mcnemar_p_value
from explain_deepfakes.model_test_train.metrics.intervals import bootstrap_weights, connected_groups, estimate_metrics
from explain_deepfakes.model_test_train.metrics.point_metrics import Scores, best_threshold, compute_metrics


def drawn(seed: int, count: int = 200, decimals: int = 12) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    return labels, np.clip(0.3 * labels + generator.random(count) * 0.7, 0, 1).round(decimals)


NASTY = {
    "random": drawn(0),
    "many": drawn(1, 3000),
    "ties": drawn(2, 300, decimals=1),
    "two values": drawn(3, 50, decimals=0),
    "all equal": (np.array([0, 1, 1, 0, 1]), np.full(5, 0.5)),
    "one of each": (np.array([1, 0]), np.array([0.9, 0.1])),
    "all wrong": (np.array([1, 1, 0]), np.array([0.0, 0.1, 1.0])),
    "ends": (np.array([1, 0, 1, 0]), np.array([1.0, 0.0, 1.0, 0.0])),
}


def scikit_learns(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> dict[str, float]:
    called = (probabilities > threshold).astype(int)
    false_positive, true_positive, _ = metrics.roc_curve(labels, probabilities, drop_intermediate=False)
    return {
        "accuracy": metrics.accuracy_score(labels, called),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, called),
        "f1": metrics.f1_score(labels, called, zero_division=0),
        "false_alarm_rate": 1 - metrics.recall_score(labels, called, pos_label=0, zero_division=np.nan),
        "miss_rate": 1 - metrics.recall_score(labels, called, zero_division=np.nan),
        "auc": metrics.roc_auc_score(labels, probabilities),
        "ap": metrics.average_precision_score(labels, probabilities),
        "tpr_at_fpr_0.001": max(true_positive[false_positive <= 0.001]),
        "tpr_at_fpr_0.01": max(true_positive[false_positive <= 0.01]),
        "tpr_at_fpr_0.05": max(true_positive[false_positive <= 0.05]),
        "log_loss": metrics.log_loss(labels, np.clip(probabilities, 1e-15, 1 - 1e-15)),
        "brier": metrics.brier_score_loss(labels, probabilities),
    }


@pytest.mark.parametrize("name", NASTY)
def test_each_metric_is_scikit_learns(name: str) -> None:
    labels, probabilities = NASTY[name]
    computed = compute_metrics(Scores.above(0.5, labels, probabilities))
    for metric, expected in scikit_learns(labels, probabilities, 0.5).items():
        assert computed[metric][0] == pytest.approx(expected, abs=1e-9), metric


def test_weights_are_how_often_a_row_is_there() -> None:
    labels, probabilities = drawn(4, 60, decimals=1)
    weights = np.random.default_rng(0).integers(0, 4, (5, 60))
    computed = compute_metrics(Scores.above(0.4, labels, probabilities), [weights[:2].astype(float), weights[2:].astype(float)])
    for draw, counts in enumerate(weights):
        repeated = compute_metrics(Scores.above(0.4, labels.repeat(counts), probabilities.repeat(counts)))
        for metric, values in repeated.items():
            assert computed[metric][draw] == pytest.approx(values[0], abs=1e-9), metric


def test_the_equal_error_rate_of_two_bells_is_the_one_of_the_formula() -> None:
    count, apart = 40_000, 1.5
    at = (np.arange(count) + 0.5) / count
    bells = np.concatenate([norm.ppf(at), norm.ppf(at) + apart])
    labels = np.repeat([0, 1], count)
    computed = compute_metrics(Scores.above(0.5, labels, norm.cdf(bells / 2)))
    assert computed["eer"][0] == pytest.approx(norm.cdf(-apart / 2), abs=1e-4)
    assert computed["auc"][0] == pytest.approx(norm.cdf(apart / np.sqrt(2)), abs=1e-4)


def test_the_equal_error_rate_lies_between_two_thresholds_where_they_step_over_it() -> None:
    # above 0.8: one of two fakes, no original; above 0.4: both fakes, one of two originals
    computed = compute_metrics(Scores.above(0.5, np.array([1, 0, 1, 0]), np.array([0.9, 0.4, 0.4, 0.1])))
    assert computed["eer"][0] == pytest.approx(0.25)


def test_the_calibration_error_is_the_mean_gap_between_what_is_said_and_what_is() -> None:
    labels = np.repeat([1, 0, 1, 0], [30, 10, 5, 15])
    probabilities = np.repeat([0.85, 0.85, 0.15, 0.15], [30, 10, 5, 15])
    expected = (40 * abs(30 / 40 - 0.85) + 20 * abs(5 / 20 - 0.15)) / 60
    assert compute_metrics(Scores.above(0.5, labels, probabilities))["calibration_error"][0] == pytest.approx(expected)


@pytest.mark.parametrize("label", [0, 1])
def test_with_one_class_only_what_needs_both_is_not_a_number_and_the_rest_is(label: int) -> None:
    computed = estimate_metrics(Scores.above(0.5, np.full(5, label), np.linspace(0, 1, 5)), np.arange(5), draws=20, seed=0)
    for name in ("auc", "eer", "balanced_accuracy", "tpr_at_fpr_0.01"):
        assert computed[name] == {"value": None, "low": None, "high": None}
    assert computed["accuracy"]["value"] == pytest.approx(0.4 if label else 0.6)  # type: ignore[index]


def test_one_video_and_none_have_metrics_or_say_that_there_are_none() -> None:
    estimates = estimate_metrics(Scores.above(0.5, np.array([1]), np.array([0.7])), np.array([0]), draws=10, seed=0)
    assert estimates["accuracy"] == {"value": 1.0, "low": None, "high": None}
    nothing = estimate_metrics(Scores.above(0.5, np.zeros(0, int), np.zeros(0)), np.zeros(0, int), draws=10, seed=0)
    assert nothing == {"count": 0, "fakes": 0}


@pytest.mark.parametrize("wrong", [np.nan, -0.1, 1.1, np.inf])
def test_what_is_no_probability_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        Scores.above(0.5, np.array([0, 1]), np.array([0.5, wrong]))
    with pytest.raises(ValueError, match="labels must be"):
        Scores.above(0.5, np.array([0, 2]), np.array([0.5, 0.5]))


def test_the_threshold_is_that_of_the_best_balanced_accuracy_in_the_middle_of_its_gap() -> None:
    assert best_threshold(np.array([0, 0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.7, 0.9])) == pytest.approx(0.5)
    assert best_threshold(np.zeros(3, int), np.array([0.1, 0.2, 0.3])) == 0.5
    for seed in range(20):
        labels, probabilities = drawn(seed, 40, decimals=1)
        chosen = best_threshold(labels, probabilities)
        tried = [
            metrics.balanced_accuracy_score(labels, probabilities > threshold) for threshold in np.linspace(-0.05, 1.05, 23)
        ]
        assert metrics.balanced_accuracy_score(labels, probabilities > chosen) == pytest.approx(max(tried))


def test_the_threshold_calls_no_more_real_ones_fake_than_allowed() -> None:
    labels, probabilities = np.array([0, 0, 0, 0, 1, 1, 1]), np.array([0.1, 0.2, 0.3, 0.8, 0.4, 0.6, 0.9])
    assert best_threshold(labels, probabilities) == pytest.approx(0.35)
    assert best_threshold(labels, probabilities, 0.25) == pytest.approx(0.35)
    assert best_threshold(labels, probabilities, 0.2) == pytest.approx(0.85)
    assert best_threshold(np.array([0, 1]), np.array([0.9, 0.1]), 0.1) == 0.9
    for seed in range(20):
        labels, probabilities = drawn(seed, 40, decimals=1)
        chosen = best_threshold(labels, probabilities, 0.1)
        assert (probabilities[labels == 0] > chosen).mean() <= 0.1


def study(generator: np.random.Generator, people: int = 60, videos: int = 6) -> tuple[Scores, np.ndarray]:
    """Simulate scores of people's videos; the scores of one person are correlated."""
    groups = np.repeat(np.arange(people), videos)
    labels = np.tile(np.arange(videos) % 2, people)
    common = generator.normal(size=people).repeat(videos)
    logits = 1.6 * labels + 0.8 * common + 0.8 * generator.normal(size=len(labels))
    probabilities = norm.cdf(logits - 0.8)
    return Scores.above(0.5, labels, probabilities), groups


def test_95_percent_intervals_hold_the_truth_in_93_to_97_percent_of_1000_studies() -> None:
    generator = np.random.default_rng(0)
    large, _ = study(generator, people=60_000)
    truth = {name: values[0] for name, values in compute_metrics(large).items()}
    names = ("accuracy", "auc", "balanced_accuracy", "brier", "log_loss")
    held = dict.fromkeys(names, 0)
    held_by_videos = 0
    for number in range(1000):
        scores, groups = study(generator)
        computed = compute_metrics(scores, bootstrap_weights(groups, 400, number))
        for name in names:
            low, high = np.quantile(computed[name], [0.025, 0.975])
            held[name] += low <= truth[name] <= high
        if number < 200:  # the coverage if the grouping by person is ignored
            low, high = np.quantile(
                compute_metrics(scores, bootstrap_weights(np.arange(len(scores)), 200, number))["brier"], [0.025, 0.975]
            )
            held_by_videos += low <= truth["brier"] <= high
    print(held, held_by_videos)
    assert all(930 <= count <= 970 for count in held.values()), held
    assert held_by_videos < 0.93 * 200


def test_too_few_groups_of_people_give_no_interval_where_they_would_look_sure() -> None:
    labels, probabilities = drawn(7, 60)
    scores = Scores.above(0.5, labels, probabilities)
    few, enough = (estimate_metrics(scores, np.arange(60) % groups, draws=50, seed=0)["auc"] for groups in (4, 5))
    assert (few["low"], few["high"]) == (None, None)  # type: ignore[index]
    assert few["value"] == enough["value"]  # type: ignore[index]
    assert enough["low"] < enough["high"]  # type: ignore[index]
    assert all(np.isnan(d.low) for d in compare(scores, scores, np.arange(60) % 4, 50, 0) if d.test == "paired bootstrap")


def test_videos_that_share_a_person_even_through_others_are_one_group() -> None:
    groups = connected_groups([("a", "b"), ("c", "d"), ("b", "e"), ("e", "f")])
    assert groups[0] == groups[2] == groups[3] != groups[1]


def two_detectors(generator: np.random.Generator, better: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simulate two detectors' scores of the same 160 videos, with correlated errors."""
    labels = np.arange(160) % 2
    common = labels + generator.normal(size=160)
    first, second = (norm.cdf(common + gain * labels + 0.8 * generator.normal(size=160)) for gain in (0.0, better))
    return labels, first, second


def test_delong_says_of_equal_detectors_that_they_differ_in_5_percent_and_its_interval_holds_the_truth() -> None:
    generator = np.random.default_rng(1)
    ps, held = [], 0
    for _ in range(2000):
        low, high, p = delong_interval(*two_detectors(generator))
        ps.append(p)
        held += low <= 0 <= high
    assert 0.04 <= np.mean(np.array(ps) < 0.05) <= 0.06
    assert 0.94 * 2000 <= held <= 0.96 * 2000
    assert abs(np.mean(np.array(ps) < 0.5) - 0.5) < 0.035  # p is uniform
    significant = [delong_interval(*two_detectors(generator, better=0.8))[2] < 0.05 for _ in range(200)]
    assert np.mean(significant) > 0.8


def test_delongs_interval_is_as_wide_as_differences_of_2000_draws_spread() -> None:
    generator = np.random.default_rng(2)
    differences, widths = [], []
    for _ in range(2000):
        labels, first, second = two_detectors(generator, better=0.5)
        low, high, _ = delong_interval(labels, first, second)
        first_auc, second_auc = (metrics.roc_auc_score(labels, p) for p in (first, second))
        assert (low + high) / 2 == pytest.approx(second_auc - first_auc, abs=1e-9)
        differences.append(second_auc - first_auc)
        widths.append(high - low)
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(differences), rel=0.06)


def test_mcnemar_counts_only_what_one_of_them_gets_right() -> None:
    right = np.repeat([True, True, False, False], [50, 9, 1, 40])
    second = np.repeat([True, False, True, False], [50, 9, 1, 40])
    assert mcnemar_p_value(right, second) == pytest.approx(2 * 11 / 2**10)  # 0 or 1 of 10 coins, two-sided
    assert mcnemar_p_value(right, right) == 1.0


def test_holms_correction_is_that_of_its_definition() -> None:
    assert holm_corrected([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm_corrected([0.01, float("nan"), 0.04])[0] == pytest.approx(0.02)


def test_a_comparison_finds_a_difference_that_is_there_and_none_between_a_detector_and_itself() -> None:
    labels, first, second = two_detectors(np.random.default_rng(3), better=1.5)
    groups = np.arange(len(labels)) // 4
    scores = [Scores.above(0.5, labels, probabilities) for probabilities in (first, second)]
    assert {d.metric for d in compare(*scores, groups, 500, 0) if d.is_significant} >= {"auc", "ap"}
    same = compare(scores[0], scores[0], groups, 200, 0)
    assert not any(d.is_significant for d in same)
    assert all(d.low == d.high == 0 for d in same)


def test_temperature_finds_the_one_that_logits_were_multiplied_by() -> None:
    generator = np.random.default_rng(4)
    truth = norm.cdf(generator.normal(size=20_000))
    labels = (generator.random(20_000) < truth).astype(int)
    logits = np.log(truth / (1 - truth))
    sure = 1 / (1 + np.exp(-3 * logits))
    fitted = Calibration.fit(labels, sure)
    assert fitted.temperature == pytest.approx(3, rel=0.05)
    before, after = (
        compute_metrics(Scores.above(0.5, labels, p))["calibration_error"][0]
        for p in (sure, fitted.calibrator("temperature")(sure))
    )
    assert after < 0.01 < 0.05 < before


@pytest.mark.parametrize("method", ["temperature", "isotonic", "none"])
def test_calibration_keeps_the_order_and_stays_within_0_and_1(method: str) -> None:
    labels, probabilities = drawn(5, 100)
    calibrated = Calibration.fit(labels, probabilities).calibrator(method)(np.linspace(0, 1, 201))
    assert (np.diff(calibrated) >= 0).all()
    assert ((calibrated >= 0) & (calibrated <= 1)).all()


def test_isotonic_calibration_follows_the_share_of_fakes_and_is_never_quite_sure() -> None:
    labels = np.repeat([0, 1, 0, 1], [40, 10, 10, 40])
    probabilities = np.repeat([0.4, 0.4, 0.6, 0.6], [40, 10, 10, 40])
    calibrate = Calibration.fit(labels, probabilities).calibrator("isotonic")
    assert calibrate(np.array([0.4, 0.6])) == pytest.approx([0.2, 0.8])
    sure = Calibration.fit(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9])).calibrator("isotonic")
    assert sure(np.array([0.0, 1.0])) == pytest.approx([0.125, 0.875])


@pytest.mark.parametrize("error", [0.05, 0.1, 0.2])
def test_beyond_the_band_no_more_of_either_class_are_wrong_than_was_chosen(error: float) -> None:
    generator = np.random.default_rng(6)
    wrong = []
    for _ in range(400):
        labels = np.repeat([0, 1], [60, 90])
        validation, test = (beta.rvs(2 + 2 * labels, 4 - labels, random_state=generator) for _ in range(2))
        low, high = Calibration.fit(labels, validation).uncertain_band(error)
        wrong.append([(test[labels == 0] > high).mean(), (test[labels == 1] < low).mean()])
    for share in np.mean(wrong, 0):
        assert share <= error + 0.01
    assert np.mean(wrong) > error / 3  # and it does not abstain from everything


def test_with_too_few_videos_for_the_chosen_error_nothing_is_certain() -> None:
    few = Calibration.fit(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9]))
    assert few.uncertain_band(0.05) == (0.0, 1.0)


def test_fitting_says_nothing_on_odd_input() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for labels, probabilities in NASTY.values():
            fitted = Calibration.fit(labels, probabilities)
            assert np.isfinite(
                [fitted.temperature, *fitted.uncertain_band(0.1), *fitted.calibrator("isotonic")(probabilities)]
            ).all()
