import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from classifier.calibration import MIN_ACCEPTED, fit_temperature, sharpened, threshold_for
from classifier.metrics import expected_calibration_error, precision_recall_f1


def test_the_temperature_that_made_the_rows_is_found():
    random = np.random.default_rng(3)
    honest = softmax(2 * random.normal(size=(20_000, 5)), axis=1)
    truth = (honest.cumsum(axis=1) > random.random((len(honest), 1))).argmax(axis=1)
    overconfident = sharpened(honest, 0.5)
    assert fit_temperature(overconfident, truth) == pytest.approx(2, rel=0.05)


@given(st.floats(0.2, 5), st.integers(0, 1000))
def test_sharpening_keeps_order_sum_and_zeros(temperature, seed):
    p = softmax(np.random.default_rng(seed).normal(size=(4, 5)), axis=1)
    p[:, 2] = 0
    p /= p.sum(axis=1, keepdims=True)
    q = sharpened(p, temperature)
    np.testing.assert_allclose(q.sum(axis=1), 1)
    assert (q[:, 2] == 0).all()
    np.testing.assert_array_equal(q.argsort(axis=1), p.argsort(axis=1))


@given(st.integers(0, 10_000), st.floats(0.5, 0.99))
def test_the_threshold_keeps_its_precision(seed, precision):
    random = np.random.default_rng(seed)
    confidence = np.round(random.random(300), 2)  # with ties
    correct = random.random(300) < confidence
    threshold = threshold_for(confidence, correct, precision)
    accepted = confidence >= threshold
    if accepted.any():
        assert accepted.sum() >= MIN_ACCEPTED
        assert correct[accepted].mean() >= precision
    lower = confidence[confidence < threshold]
    for other in np.unique(lower):
        among = confidence >= other
        assert correct[among].mean() < precision or among.sum() < MIN_ACCEPTED


def test_nothing_is_accepted_where_no_threshold_is_good_enough():
    assert threshold_for(np.full(100, 0.9), np.zeros(100, bool), 0.95) > 1


def test_calibration_error_by_hand():
    confidence, correct = np.array([0.9, 0.9, 0.1, 1.0]), np.array([True, False, False, True])
    assert expected_calibration_error(confidence, correct) == pytest.approx((0.8 + 0.1 + 0.0) / 4)


def test_precision_recall_f1_by_hand():
    figures = precision_recall_f1(np.array(["a", "a", "a", "b"], object), np.array(["a", "a", "b", "b"], object))
    assert figures["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert figures["weighted_f1"] == pytest.approx(0.75 * 0.8 + 0.25 * 2 / 3)
