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
    Metric("nesting_depth", "1", "none", "n: nested evaluations of the nonlinearity in a step; infinite if implicit"),
    Metric("memory_order", "1", "none", "t: lags of the observed block that determine the next"),
    Metric("cases", "1", "none", "cases with a certificate that the hunt tried to break"),
    Metric("violations", "1", "lower", "cases that grow although their step is certified"),
    Metric("worst_growth", "1", "none", "largest growth seen in a case, in the certified norm"),
    Metric("tightness", "1", "higher", "certified step over the smallest step seen at which something grows"),
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
    "nrmse",
)


def _table() -> Mapping[str, Metric]:
    table = {metric.name: metric for metric in _MEASURED}
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
