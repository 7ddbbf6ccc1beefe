import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import binomtest

from shelfwise.classifier.metrics import (
    bootstrap_intervals,
    coverage_at,
    expected_calibration_error,
    hierarchical_precision_recall_f1,
    macro_f1,
    precision_recall_f1,
    risk_coverage,
)
from shelfwise.classifier.model.calibration import (
    CONFIDENCE_LEVEL,
    IDENTITY,
    NEVER,
    fit_reliability,
    fit_temperature,
    reliable,
    set_threshold,
    sharpened,
    threshold_for,
)


def test_fit_temperature_recovers_the_true_temperature():
    random = np.random.default_rng(3)
    honest = softmax(2 * random.normal(size=(20_000, 5)), axis=1)
    truth = (honest.cumsum(axis=1) > random.random((len(honest), 1))).argmax(axis=1)
    overconfident = sharpened(honest, 0.5)
    assert fit_temperature(overconfident, truth) == pytest.approx(2, rel=0.05)


@given(st.floats(0.2, 5), st.integers(0, 1000))
def test_sharpening_keeps_the_order_the_sum_and_zeros(temperature, seed):
    p = softmax(np.random.default_rng(seed).normal(size=(4, 5)), axis=1)
    p[:, 2] = 0
    p /= p.sum(axis=1, keepdims=True)
    q = sharpened(p, temperature)
    np.testing.assert_allclose(q.sum(axis=1), 1)
    assert (q[:, 2] == 0).all()
    np.testing.assert_array_equal(q.argsort(axis=1), p.argsort(axis=1))


def test_fit_reliability_corrects_overconfidence():
    """Overconfident decisions get a confidence that matches their accuracy."""
    random = np.random.default_rng(8)
    p = softmax(3 * random.normal(size=(20_000, 6)), axis=1)
    confidence = p.max(axis=1)
    correct = random.random(len(p)) < confidence**2
    assert expected_calibration_error(confidence, correct) > 0.08
    reliability = fit_reliability(confidence, correct)
    q = reliable(p, reliability)
    np.testing.assert_allclose(q.sum(axis=1), 1)
    np.testing.assert_array_equal(q.argmax(axis=1), p.argmax(axis=1))
    assert expected_calibration_error(q.max(axis=1), correct) < 0.02
    assert fit_reliability(confidence, np.ones(len(p), bool)) == IDENTITY


@given(st.integers(0, 1000), st.floats(0, 3), st.floats(0, 3), st.floats(-3, 3))
def test_reliability_keeps_the_order_the_sum_and_zeros(seed, rise, fall, shift):
    p = softmax(2 * np.random.default_rng(seed).normal(size=(6, 5)), axis=1)
    p[:, 2] = 0
    p /= p.sum(axis=1, keepdims=True)
    p[0] = [1, 0, 0, 0, 0]
    q = reliable(p, (rise, fall, shift))
    np.testing.assert_allclose(q.sum(axis=1), 1)
    assert (q[:, 2] == 0).all()
    for before, after in zip(p, q, strict=True):
        assert (np.diff(after[np.argsort(before, kind="stable")]) >= -1e-12).all()
    assert reliable(p, IDENTITY) is p


@given(st.integers(0, 10_000), st.floats(0.5, 0.99))
def test_a_threshold_reaches_its_precision_by_the_interval_of_scipy(seed, precision):
    random = np.random.default_rng(seed)
    confidence = np.round(random.random(300), 2)  # with ties
    correct = random.random(300) < confidence
    threshold = threshold_for(confidence, correct, precision)
    if threshold != NEVER:
        taken = correct[confidence >= threshold]
        interval = binomtest(int(taken.sum()), len(taken)).proportion_ci(2 * CONFIDENCE_LEVEL - 1, method="exact")
        assert interval.low >= precision
        assert threshold in confidence


def test_a_threshold_is_found_for_calibrated_confidence():
    random = np.random.default_rng(12)
    confidence = random.random(20_000)
    threshold = threshold_for(confidence, random.random(20_000) < confidence, 0.9)
    assert threshold == pytest.approx(0.8, abs=0.03)  # uniform confidence above 0.8 has a mean of 0.9


@pytest.mark.parametrize("true_precision", [0.88, 0.895])
def test_trying_many_thresholds_rarely_finds_one_by_luck(true_precision):
    """Confidence carries no information and true precision is below the target. Any threshold breaks the promise."""
    random = np.random.default_rng(13)
    broken = [threshold_for(random.random(800), random.random(800) < true_precision, 0.9) != NEVER for _ in range(300)]
    assert np.mean(broken) <= 1 - CONFIDENCE_LEVEL + 0.02


def test_the_precision_holds_on_new_rows_as_often_as_promised():
    random = np.random.default_rng(11)
    kept = []
    for _ in range(200):
        confidence = random.random(1000)
        threshold = threshold_for(confidence, random.random(1000) < confidence, 0.9)
        fresh = random.random(50_000)
        taken = fresh >= threshold
        kept.append(not taken.any() or fresh[taken].mean() >= 0.9)
    assert np.mean(kept) >= CONFIDENCE_LEVEL - 0.05


def test_nothing_is_accepted_if_no_threshold_is_good_enough():
    assert threshold_for(np.full(100, 0.9), np.zeros(100, bool), 0.95) == NEVER
    assert threshold_for(np.full(5, 0.9), np.ones(5, bool), 0.95) == NEVER  # five correct rows prove too little
    assert threshold_for(np.empty(0), np.empty(0, bool), 0.95) == NEVER


def test_prediction_sets_reach_their_coverage():
    random = np.random.default_rng(2)
    covered = []
    for _ in range(100):
        p = softmax(2 * random.normal(size=(600, 6)), axis=1)
        truth = (p.cumsum(axis=1) > random.random((600, 1))).argmax(axis=1)
        threshold = set_threshold(p[:300], truth[:300], 0.9)
        covered.append((p[300:][np.arange(300), truth[300:]] >= threshold).mean())
    assert 0.895 < np.mean(covered) < 0.92
    assert set_threshold(p[:5], truth[:5], 0.95) == 0


def test_calibration_error_matches_a_hand_computed_value():
    confidence, correct = np.array([0.9, 0.9, 0.1, 1.0]), np.array([True, False, False, True])
    assert expected_calibration_error(confidence, correct) == pytest.approx((0.8 + 0.1 + 0.0) / 4)


@given(st.integers(0, 1000))
def test_risk_and_coverage_do_not_depend_on_the_order_of_ties(seed):
    random = np.random.default_rng(seed)
    confidence, correct = np.round(random.random(60), 1), random.random(60) < 0.7
    order = random.permutation(60)
    curve, area = risk_coverage(confidence, correct)
    again, same = risk_coverage(confidence[order], correct[order])
    np.testing.assert_allclose(again, curve)
    assert same == pytest.approx(area)
    for precision in (0.5, 0.7, 0.9):
        found = coverage_at(precision, confidence, correct)
        assert found == coverage_at(precision, confidence[order], correct[order])
        good = [c for c in set(confidence) if correct[confidence >= c].mean() >= precision]
        assert found == pytest.approx((confidence >= min(good)).mean() if good else 0)


def test_precision_recall_f1_match_hand_computed_values():
    figures = precision_recall_f1(np.array(["a", "a", "a", "b"], object), np.array(["a", "a", "b", "b"], object))
    assert figures["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert figures["weighted_f1"] == pytest.approx(0.75 * 0.8 + 0.25 * 2 / 3)


def test_hierarchical_measures_count_shared_nodes():
    figures = hierarchical_precision_recall_f1(["A > x > 1", "B"], ["A > x > 2", "A > y"])
    assert figures["hierarchical_precision"] == pytest.approx(2 / 5)
    assert figures["hierarchical_recall"] == pytest.approx(2 / 4)
    assert figures["hierarchical_f1"] == pytest.approx(2 * 0.4 * 0.5 / 0.9)


def test_risk_coverage_matches_a_hand_computed_curve():
    curve, area = risk_coverage(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, True, False, True]))
    assert curve == [[0.25, 0.0], [0.5, 0.0], [0.75, pytest.approx(1 / 3)], [1.0, 0.25]]
    assert area == pytest.approx((0 + 0 + 1 / 3 + 1 / 4) / 4)


def test_bootstrap_intervals_contain_the_measured_value():
    random = np.random.default_rng(4)
    truth = random.integers(5, size=2000).astype(str).astype(object)
    said = np.where(random.random(2000) < 0.8, truth, "0").astype(object)
    worse = np.where(random.random(2000) < 0.9, said, "1").astype(object)
    alone = bootstrap_intervals(truth, said)
    for name, value in (("accuracy", (truth == said).mean()), ("macro_f1", macro_f1(truth, said))):
        low, high = alone[name]
        assert low < value < high
        assert high - low < 0.06
    difference = bootstrap_intervals(truth, said, worse)
    assert difference["accuracy"][0] > 0
    assert difference["accuracy"][0] < (truth == said).mean() - (truth == worse).mean() < difference["accuracy"][1]
    same = bootstrap_intervals(truth, said, said)
    assert same == {"accuracy": (0.0, 0.0), "macro_f1": (0.0, 0.0)}
