"""The numbers a row may hold: what each is called, its unit, which way is better, and the functions that compute them.

Pure NumPy. A `baseline_` name is the same quantity for the task's reference predictor and has no better direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Direction = Literal["higher", "lower", "none"]


@dataclass(frozen=True)
class Metric:
    """A metric's name in a row, its unit ("1" for a pure number), which direction is better, and one sentence."""

    name: str
    unit: str
    direction: Direction
    summary: str


_MEASURED = (
    Metric("accuracy", "1", "higher", "fraction of recalled symbols whose largest output is the right one"),
    Metric("cross_entropy", "nat", "lower", "cross-entropy, mean over the positions that the loss counts"),
    Metric("cross_entropy_recall", "nat", "lower", "cross-entropy, mean over the recalled symbols alone"),
    Metric("mean_squared_error", "1", "lower", "squared error, mean over the positions that the loss counts"),
    Metric("skill", "1", "higher", "1 - loss / baseline loss: 1 is perfect, 0 no better than the baseline"),
    Metric("valid_prediction_time", "Lyapunov time", "higher", "time until the error passes the threshold, median"),
    Metric("valid_prediction_time_q25", "Lyapunov time", "higher", "lower quartile of the valid prediction time"),
    Metric("valid_prediction_time_q75", "Lyapunov time", "higher", "upper quartile of the valid prediction time"),
    Metric("valid_prediction_time_censored", "1", "higher", "fraction of forecasts never past the threshold"),
    Metric("nrmse", "1", "lower", "error over one Lyapunov time in standard deviations, root mean square"),
    Metric("climatology_nrmse", "1", "none", "nrmse of the constant forecast of the mean state"),
    Metric("climatology_valid_prediction_time", "Lyapunov time", "none", "the same forecast's median valid time"),
    Metric("initial_conditions", "1", "none", "number of forecasts that were scored"),
    Metric("error", "1", "lower", "maximum error at the final time, over the reference's largest component"),
    Metric("observed_order", "1", "none", "slope of log error against log step"),
    Metric("train_loss", "1", "lower", "training loss, mean over the last tenth of the updates"),
    Metric("gradient_ratio", "1", "none", "norm of dL/dy at the first step over that at the last, after training"),
    Metric("gradient_ratio_before", "1", "none", "the same ratio before training"),
    Metric("parameters", "1", "lower", "trained numbers of the smallest cell with room for the memory, no readout"),
    Metric("hidden", "1", "none", "hidden size of that cell"),
    Metric("norm_drift", "1", "lower", "largest | ||y|| / ||y_0|| - 1 | of the state along a sequence"),
    Metric("memory_capacity", "1", "higher", "sum over lags of the held-out R^2 of a linear readout of past inputs"),
    Metric("memory_capacity_per_unit", "1", "higher", "memory capacity over the number of state numbers"),
    Metric("equality_error", "1", "lower", "largest relative difference from the published cell, a step or a sequence"),
    Metric("equality_error_one_step", "1", "lower", "the same difference after one step"),
    Metric("wrong_error", "1", "none", "the same difference from a deliberately wrong cell: must not be small"),
    Metric("gap_at_zero_step", "1", "none", "distance of the map at time 0 from the identity; 0 for an integrator"),
    Metric("limit_gap", "1", "lower", "distance of the extrapolated limit of small steps from the exact flow"),
    Metric("nesting_depth", "1", "none", "n: nested evaluations of the nonlinearity in a step; infinite if implicit"),
    Metric("memory_order", "1", "none", "t: lags of the observed block that determine the next"),
    Metric("cases", "1", "none", "cases with a certificate that the hunt tried to break"),
    Metric("violations", "1", "lower", "cases that grow although their step is certified"),
    Metric("worst_growth", "1", "none", "largest growth seen in a case, in the certified norm"),
    Metric("tightness", "1", "higher", "certified step over the smallest step seen at which something grows"),
)
_FORECAST = (
    Metric("valid_prediction_time_03", "Lyapunov time", "higher", "the valid prediction time at a threshold of 0.3"),
    Metric("valid_prediction_time_05", "Lyapunov time", "higher", "the valid prediction time at a threshold of 0.5"),
    Metric("valid_prediction_time_limit", "Lyapunov time", "higher", "of the learned field itself, solved accurately"),
    Metric("valid_prediction_time_best", "Lyapunov time", "higher", "largest median over every way it was stepped"),
    Metric("nrmse_limit", "1", "lower", "nrmse of the learned field itself, solved accurately"),
    Metric("smape", "%", "lower", "200 |u - v| / (|u| + |v|), mean over one Lyapunov time: 0 to 200"),
    Metric("state_space_divergence", "nat", "lower", "KL divergence of visits to state space, true from generated"),
    Metric("state_space_divergence_floor", "nat", "none", "the same of two independent true samples of that size"),
    Metric("escaped", "1", "lower", "share of generated points outside the box of the true attractor, or lost"),
    Metric("hellinger", "1", "lower", "Hellinger distance of power spectra, mean over components: 0 to 1"),
    Metric("hellinger_floor", "1", "none", "the same of two independent true samples of that size"),
    Metric("correlation_dimension", "1", "none", "Grassberger-Procaccia dimension of what was generated, to 0.1"),
    Metric("correlation_dimension_true", "1", "none", "the same of a true sample of that size"),
    Metric("lyapunov_max", "1/time", "none", "largest Lyapunov exponent, per unit of the equation's time"),
    Metric("lyapunov_max_error", "1/time", "none", "its standard error"),
    Metric("lyapunov_sum", "1/time", "none", "sum of as many leading exponents as the system has components"),
    Metric("lyapunov_sum_exact", "1/time", "none", "that sum where theory gives it: the mean divergence of the field"),
    Metric("kaplan_yorke", "1", "none", "Kaplan-Yorke dimension of these exponents"),
    Metric("kaplan_yorke_error", "1", "none", "its standard error"),
    Metric("flow_lyapunov_max", "1/time", "none", "lyapunov_max of the exact flow, not of the stepped map"),
    Metric("flow_lyapunov_max_error", "1/time", "none", "its standard error"),
    Metric("flow_kaplan_yorke", "1", "none", "Kaplan-Yorke dimension of the exact flow"),
    Metric("flow_kaplan_yorke_error", "1", "none", "its standard error"),
    Metric("ceiling", "Lyapunov time", "none", "largest median valid prediction time of a method over its steps"),
    Metric("ceiling_step", "time", "none", "the step that reaches it"),
    Metric("agreement", "Lyapunov time", "none", "time up to which independent true solutions agree"),
    Metric("field_error", "1", "lower", "norm of learned minus true field over the true's, rms on the attractor"),
    Metric("refinement_gap", "1", "lower", "error over one sample at a refined step over that at the trained step"),
)
_NUMERICAL = (
    Metric("trajectory_error", "1", "lower", "largest error along the way, over the reference's largest component"),
    Metric("reference_error", "1", "none", "error of that reference trajectory at its end"),
    Metric("error_scaled", "1", "lower", "maximum relative error of a component at the final time"),
    Metric("coefficient_error", "1", "lower", "largest difference of recovered from claimed coefficients A, b, c"),
    Metric("trajectory_gap", "1", "lower", "largest relative difference from a plain loop on the same grid"),
    Metric("restart_gap", "1", "none", "largest relative difference that starting afresh half-way makes"),
    Metric("real_interval", "1", "none", "length of the stable interval of -h lambda, measured by running"),
    Metric("imaginary_interval", "1", "none", "length of the stable interval of h lambda / i, measured by running"),
    Metric("calls_per_step", "1", "lower", "evaluations of the field a step"),
    Metric("gradient_gap", "1", "lower", "largest relative difference of the gradient from the native one"),
    Metric("jump_error", "1", "lower", "error after an input that jumps between steps, relative"),
    Metric("jump_order", "1", "none", "observed order where the input jumps"),
)
_TIMED = (
    Metric("median_seconds", "s", "lower", "time of the workload, median over the rounds"),
    Metric("first_call_seconds", "s", "lower", "time of the first call, compilation included"),
    Metric("first_call_warm_seconds", "s", "lower", "the same in a new process that finds on disk what was compiled"),
    Metric("floor_ratio", "1", "lower", "median time over that of the model's matrix products alone, by torch.mm"),
    Metric("floor_ratio_best", "1", "lower", "the same over these products at the rate of one large product"),
)
_MEMORY = (
    Metric("training_memory_mib", "MiB", "lower", "memory that one step of training adds to the process at its peak"),
    Metric(
        "train_step_seconds", "s", "lower", "time of that step, forward, backward and update: the first of its length"
    ),
)
_EXAMINED = (
    Metric("inside", "1", "none", "share of h lambda in the region of stability, lambda eigenvalues of df/dy"),
    Metric("conditioning", "1", "none", "2-norm condition number of the eigenvectors, median"),
    Metric("predicted_growth", "1/step", "none", "mean over the steps of log max |R(h lambda)|"),
    Metric("measured_growth", "1/step", "none", "log norm of the product of the step's Jacobians, a step"),
    Metric("certified_step", "1", "none", "largest step h with a promise of no growth; 0 for none"),
    Metric("spectral_step", "1", "none", "largest step h that keeps every sampled h lambda in the region"),
)
_WITH_BASELINE = (
    "accuracy",
    "cross_entropy",
    "cross_entropy_recall",
    "mean_squared_error",
    "valid_prediction_time",
    "valid_prediction_time_limit",
    "nrmse",
    "error",
)


def _table() -> Mapping[str, Metric]:
    table = {metric.name: metric for metric in (*_MEASURED, *_FORECAST, *_NUMERICAL, *_TIMED, *_MEMORY)}
    for name in _WITH_BASELINE:
        metric = table[name]
        summary = f"the task's reference predictor: {metric.summary}"
        table[f"baseline_{name}"] = Metric(f"baseline_{name}", metric.unit, "none", summary)
    for metric in _EXAMINED:
        for when in ("before", "after"):
            name, summary = f"{metric.name}_{when}", f"{metric.summary}; {when} training"
            table[name] = Metric(name, metric.unit, "none", summary)
    return MappingProxyType(table)


METRICS: Mapping[str, Metric] = _table()
"""Every metric name a built-in task writes."""


def accuracy(outputs: Array, targets: Array, weights: Array) -> float:
    """Weighted fraction of positions whose largest output is the target class; NaN outputs are wrong.

    outputs: (..., classes) float; targets: (...) int; weights: (...) float, not all 0.
    """
    right = (np.argmax(outputs, axis=-1) == targets) & np.isfinite(outputs).all(axis=-1)
    return float(np.sum(weights * right) / np.sum(weights))


def cross_entropy(outputs: Array, targets: Array, weights: Array) -> float:
    """Weighted mean of -log softmax(outputs)[target], in nats.

    outputs: (..., classes) float, unnormalised; targets: (...) int; weights: (...) float, not all 0.
    """
    shifted = outputs - np.max(outputs, axis=-1, keepdims=True)
    chosen = np.take_along_axis(shifted, targets[..., None], axis=-1)[..., 0]
    losses = np.log(np.sum(np.exp(shifted), axis=-1)) - chosen
    return float(np.sum(weights * losses) / np.sum(weights))


def mean_squared_error(outputs: Array, targets: Array, weights: Array) -> float:
    """Weighted mean over positions of the squared error's mean over channels.

    outputs, targets: (..., channels) float; weights: (...) float, not all 0.
    """
    losses = np.mean((outputs - targets) ** 2, axis=-1)
    return float(np.sum(weights * losses) / np.sum(weights))


def skill(loss: float, baseline: float) -> float:
    """1 - loss / baseline, the loss's unit dropping out: 1 for a loss of 0, 0 for the baseline's."""
    return 1.0 - loss / baseline


def normalised_error(truth: Array, prediction: Array, sigma: Array | float) -> Array:
    """sqrt(mean over components of ((truth - prediction) / sigma)^2), in standard deviations of the attractor.

    truth, prediction: (..., dimension); sigma: (dimension,) or a number; the result (...). Where the prediction is not
    finite the error is infinite. The normalised error of Vlachas et al. 2020, Neural Networks 126:191.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.sqrt(np.mean(((truth - prediction) / sigma) ** 2, axis=-1))
    return np.asarray(np.where(np.isnan(error), np.inf, error))


def nrmse(truth: Array, prediction: Array, sigma: Array | float) -> float:
    """Root mean square of `normalised_error` over every time and forecast given; infinite if one is not finite."""
    with np.errstate(over="ignore"):
        return float(np.sqrt(np.mean(normalised_error(truth, prediction, sigma) ** 2)))


def smape(truth: Array, prediction: Array) -> float:
    """Symmetric mean absolute percentage error: mean of 200 |u - v| / (|u| + |v|), from 0 to 200; 0 / 0 counts as 0.

    truth, prediction: (...), in physical units, for it changes when zero is moved. A prediction that is not finite
    counts as 200. As in Gilpin 2021 (arXiv:2110.05266), where a factor 100 is also found: that one ends at 100.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        apart, size = np.abs(truth - prediction), np.abs(truth) + np.abs(prediction)
        share = np.where(size > 0.0, apart / np.where(size > 0.0, size, 1.0), 0.0)
    return float(200.0 * np.where(np.isfinite(prediction), share, 1.0).mean())


def valid_prediction_time(errors: Array, dt: float, exponent: float, threshold: float = 0.4) -> tuple[Array, Array]:
    """How long each forecast stays within the threshold, in Lyapunov times (1 / exponent), and whether it never left.

    errors: (steps, ...) normalised errors at 1, 2, ... steps of dt after the start. The time of a forecast is
    exponent * dt * min{n : not errors[n - 1] < threshold}, so that NaN and infinity count as exceeded; one that never
    exceeds is censored and gets the time of the last step. Returns times (...) float and censored (...) bool.
    """
    exceeded = ~(errors < threshold)
    censored = ~exceeded.any(axis=0)
    first = np.where(censored, len(errors), np.argmax(exceeded, axis=0) + 1)
    return exponent * dt * first, np.asarray(censored)
