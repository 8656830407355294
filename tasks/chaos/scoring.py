"""The score of forecasts against the truth, in what a learner sees; for models, true fields and baselines alike."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...suite.contracts import Array
from ...suite.metrics import normalised_error, nrmse, smape, valid_prediction_time
from .view import View

THRESHOLD = 0.4
"""Standard deviations of the attractor at which a forecast stops being valid."""

OTHER_THRESHOLDS = {"_03": 0.3, "_05": 0.5}
"""Those of other authors, by the ending of the metric's name."""

CURVE_POINTS = 500
"""At most so many points in the curve of a forecast."""


def score(view: View, truth: Array, prediction: Array) -> dict[str, float]:
    """Valid prediction time over initial conditions (in Lyapunov times), and the errors over one Lyapunov time.

    truth, prediction: (steps + 1, n, components), standardised, the initial condition first.
    """
    exponent = view.chaotic.exponent
    errors = normalised_error(truth[1:], prediction[1:], 1.0)
    times, censored = valid_prediction_time(errors, view.sampling, exponent, THRESHOLD)
    first = slice(1, 1 + view.samples(1.0))
    q25, median, q75 = np.percentile(times, [25, 50, 75])
    found = {
        "valid_prediction_time": float(median),
        "valid_prediction_time_q25": float(q25),
        "valid_prediction_time_q75": float(q75),
        "valid_prediction_time_censored": float(censored.mean()),
        "nrmse": nrmse(truth[first], prediction[first], 1.0),
        "smape": smape(view.physical(truth[first]), view.physical(prediction[first])),
    }
    for ending, threshold in OTHER_THRESHOLDS.items():
        others, _ = valid_prediction_time(errors, view.sampling, exponent, threshold)
        found[f"valid_prediction_time{ending}"] = float(np.median(others))
    return found


def score_beside_climatology(view: View, truth: Array, prediction: Array) -> dict[str, float]:
    """The score, that of the mean state's constant forecast, and how many were scored."""
    mean = score(view, truth, np.zeros_like(truth))
    return score(view, truth, prediction) | {
        "initial_conditions": float(truth.shape[1]),
        "climatology_valid_prediction_time": mean["valid_prediction_time"],
        "climatology_nrmse": mean["nrmse"],
    }


def curve(view: View, truth: Array, prediction: Array) -> dict[str, Any]:
    """Of the first initial condition: first component (system's units), normalised error, time (Lyapunov times)."""
    every = slice(None, None, math.ceil(len(truth) / CURVE_POINTS))
    shown = {
        "time": np.arange(len(truth)) * view.sampling * view.chaotic.exponent,
        "truth": view.physical(truth[:, 0])[:, 0],
        "prediction": view.physical(prediction[:, 0])[:, 0],
        "error": normalised_error(truth[:, 0], prediction[:, 0], 1.0),
    }
    return {key: values[every].tolist() for key, values in shown.items()}
