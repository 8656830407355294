"""Metrics against closed forms, hand-made errors and torch's losses."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from odernn.suite import metrics
from odernn.suite.metrics import METRICS

ROW_METRICS = [
    "accuracy",
    "cross_entropy",
    "cross_entropy_recall",
    "baseline_accuracy",
    "baseline_cross_entropy",
    "skill",
    "mean_squared_error",
    "baseline_mean_squared_error",
    "valid_prediction_time",
    "valid_prediction_time_q25",
    "valid_prediction_time_q75",
    "valid_prediction_time_censored",
    "initial_conditions",
    "nrmse",
    "baseline_valid_prediction_time",
    "baseline_nrmse",
    "error",
    "observed_order",
    "train_loss",
    "gradient_ratio",
    "gradient_ratio_before",
    "valid_prediction_time_03",
    "valid_prediction_time_05",
    "valid_prediction_time_limit",
    "smape",
    "state_space_divergence",
    "state_space_divergence_floor",
    "escaped",
    "hellinger",
    "hellinger_floor",
    "correlation_dimension",
    "correlation_dimension_true",
    "lyapunov_max",
    "lyapunov_max_error",
    "lyapunov_sum",
    "lyapunov_sum_exact",
    "kaplan_yorke",
    "kaplan_yorke_error",
    "ceiling",
    "ceiling_step",
    "agreement",
    "field_error",
    "refinement_gap",
    "trajectory_error",
    "reference_error",
    "error_scaled",
    "coefficient_error",
    "trajectory_gap",
    "real_interval",
    "imaginary_interval",
    "calls_per_step",
    "gradient_gap",
    "jump_error",
    "jump_order",
    "restart_gap",
    "flow_lyapunov_max",
    "flow_lyapunov_max_error",
    "flow_kaplan_yorke",
    "flow_kaplan_yorke_error",
    "valid_prediction_time_best",
    "nrmse_limit",
]


@pytest.mark.parametrize("name", ROW_METRICS)
def test_every_metric_of_a_row_is_declared(name):
    assert METRICS[name].name == name
    assert METRICS[name].unit
    assert METRICS[name].summary
    assert METRICS[name].direction in ("higher", "lower", "none")


def test_the_table_is_read_only():
    with pytest.raises(TypeError):
        METRICS["accuracy"] = METRICS["error"]


@given(seed=st.integers(0, 10_000))
def test_losses_equal_torch(seed):
    rng = np.random.default_rng(seed)
    logits, classes = 30 * rng.standard_normal((4, 3, 5)), rng.integers(0, 5, (4, 3))
    weights = rng.integers(0, 2, (4, 3)).astype(float)
    weights[0, 0] = 1.0
    each = torch.nn.functional.cross_entropy(
        torch.tensor(logits).flatten(0, 1), torch.tensor(classes).flatten(), reduction="none"
    ).numpy()
    expected = (each * weights.ravel()).sum() / weights.sum()
    assert metrics.cross_entropy(logits, classes, weights) == pytest.approx(expected, rel=1e-12)

    targets = rng.standard_normal(logits.shape)
    squares = torch.nn.functional.mse_loss(torch.tensor(logits), torch.tensor(targets), reduction="none").mean(-1)
    expected = float((squares.numpy() * weights).sum() / weights.sum())
    assert metrics.mean_squared_error(logits, targets, weights) == pytest.approx(expected, rel=1e-12)


def test_cross_entropy_of_known_probabilities():
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    assert metrics.cross_entropy(logits, np.array([1, 2]), np.ones(2)) == pytest.approx(
        (math.log(4) - math.log(0.8)) / 2
    )


def test_cross_entropy_does_not_overflow():
    assert metrics.cross_entropy(np.array([[1e6, -1e6]]), np.array([0]), np.ones(1)) == 0.0


def test_accuracy_counts_weighted_hits_and_never_a_nan():
    outputs = np.array([[1.0, 2.0], [3.0, 0.0], [np.nan, 0.0], [0.0, 1.0]])
    targets = np.array([1, 1, 0, 1])
    assert metrics.accuracy(outputs, targets, np.ones(4)) == 0.5
    assert metrics.accuracy(outputs, targets, np.array([1.0, 1.0, 0.0, 0.0])) == 0.5
    assert metrics.accuracy(outputs, targets, np.array([0.0, 1.0, 1.0, 0.0])) == 0.0


@given(arrays(float, (6, 4), elements=st.floats(-10, 10)))
def test_a_perfect_prediction_is_the_optimum_of_its_direction(values):
    targets = np.argmax(values, axis=-1)
    sure = np.where(np.eye(4)[targets] > 0, 0.0, -1e3)
    other = np.roll(sure, 1, axis=-1)
    ones = np.ones(6)
    scored = {
        "accuracy": [metrics.accuracy(o, targets, ones) for o in (sure, other)],
        "cross_entropy": [metrics.cross_entropy(o, targets, ones) for o in (sure, other)],
        "mean_squared_error": [metrics.mean_squared_error(o, values, ones) for o in (values, values + 1)],
        "nrmse": [metrics.nrmse(values, o, 2.0) for o in (values, values + 1)],
        "skill": [metrics.skill(loss, 0.5) for loss in (0.0, 0.1)],
        "smape": [metrics.smape(values, o) for o in (values, values + 1)],
        "valid_prediction_time": [
            float(np.median(metrics.valid_prediction_time(metrics.normalised_error(values, o, 2.0), 0.1, 0.9)[0]))
            for o in (values, values + 1)
        ],
    }
    for name, (perfect, worse) in scored.items():
        assert (perfect > worse) if METRICS[name].direction == "higher" else (perfect < worse), name


def test_normalised_error_uses_each_components_sigma():
    truth, prediction = np.array([[1.0, 10.0]]), np.array([[4.0, 50.0]])
    assert metrics.normalised_error(truth, prediction, np.array([1.0, 10.0])) == pytest.approx(
        [math.sqrt((9 + 16) / 2)]
    )


@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf, 1e300])
def test_a_lost_prediction_has_an_infinite_error(lost):
    truth, prediction = np.zeros((2, 1, 3)), np.zeros((2, 1, 3))
    prediction[1, 0, 1] = lost
    assert metrics.normalised_error(truth, prediction, 1.0).ravel().tolist() == [0.0, np.inf]
    assert metrics.nrmse(truth, prediction, 1.0) == np.inf


def test_nrmse_is_the_root_mean_square_over_times_and_forecasts():
    truth, prediction = np.zeros((2, 2, 1)), np.array([[[1.0], [2.0]], [[3.0], [4.0]]])
    assert metrics.nrmse(truth, prediction, 2.0) == pytest.approx(math.sqrt((1 + 4 + 9 + 16) / 4) / 2)


@given(lasts=st.integers(0, 20), rate=st.floats(0.05, 2.0), step=st.floats(0.001, 0.5))
def test_valid_prediction_time_of_constructed_errors(lasts, rate, step):
    errors = np.where(np.arange(1, 21) <= lasts, 0.39, 0.4)  # exactly at the threshold is no longer below it
    time, censored = metrics.valid_prediction_time(errors, step, rate, 0.4)
    assert time == pytest.approx(rate * step * min(lasts + 1, 20))
    assert bool(censored) == (lasts == 20)


def test_valid_prediction_time_stops_at_the_first_crossing_and_at_a_nan():
    errors = np.array([[0.1, 0.1, 0.1, np.inf], [0.5, np.nan, 0.1, 0.0], [0.1, 0.1, 0.1, 0.0]])
    times, censored = metrics.valid_prediction_time(errors, 0.1, 2.0, 0.4)
    assert times == pytest.approx([0.4, 0.4, 0.6, 0.2])
    assert censored.tolist() == [False, False, True, False]


def test_smape_of_known_pairs():
    truth, prediction = np.array([1.0, 0.0, 0.0, 2.0, -3.0]), np.array([3.0, 0.0, 5.0, -2.0, -3.0])
    assert metrics.smape(truth, prediction) == pytest.approx((100 + 0 + 200 + 200 + 0) / 5)
    assert metrics.smape(truth, -truth) == pytest.approx(120.0)


@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf])
def test_a_lost_prediction_has_the_largest_smape(lost):
    assert metrics.smape(np.array([1.0, 1.0]), np.array([1.0, lost])) == 100.0


@given(arrays(float, (5, 3), elements=st.floats(-1e3, 1e3)), st.floats(1e-2, 1e2))
def test_smape_has_no_unit_and_is_symmetric(values, unit):
    other = values[::-1] + 1.0
    found = metrics.smape(values, other)
    assert 0.0 <= found <= 200.0
    assert metrics.smape(other, values) == pytest.approx(found)
    assert metrics.smape(unit * values, unit * other) == pytest.approx(found)


def test_skill():
    assert metrics.skill(0.0, 0.25) == 1.0
    assert metrics.skill(0.25, 0.25) == 0.0
    assert metrics.skill(0.5, 0.25) == -1.0
