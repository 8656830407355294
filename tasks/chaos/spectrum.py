"""How differently two sets of series distribute their power over frequencies: a Hellinger distance.

After the power spectrum distance of Mikhaeil, Monfared and Durstewitz 2022 (arXiv:2110.07238), with the smoothing
given in units of frequency: in bins, as published, its meaning changes with the length of the series. Two finite
samples of one process differ: read a value beside that of two independent true samples, its floor.
"""

from __future__ import annotations

import numpy as np

from ...suite.contracts import Array

CUT = 4.0
"""The Gaussian is cut at this many of its widths."""


def power(series: Array, sampling: float, width: float) -> Array:
    """Relative power of the non-negative frequencies, of every component: (samples // 2 + 1, dimension), sums of 1.

    series: (samples, runs, dimension), finite. Each run is centred; the squared moduli of its Fourier coefficients are
    averaged over runs and smoothed by a Gaussian. sampling: time between samples; width: standard deviation of the
    Gaussian in cycles per unit of that time. A component that never changes has no power: zeros.
    """
    centred = series - series.mean(axis=0)
    spectrum = (np.abs(np.fft.rfft(centred, axis=0)) ** 2).mean(axis=1)
    smooth = _smoothed(spectrum, width * len(series) * sampling)
    total = smooth.sum(axis=0)
    changes = np.ptp(series, axis=0).max(axis=0) > 1e-12 * np.abs(series).max(axis=(0, 1))  # beyond rounding
    return np.asarray(np.where(changes, smooth / np.where(total > 0.0, total, 1.0), 0.0))


def hellinger(truth: Array, generated: Array, sampling: float, width: float) -> float:
    """sqrt(1 - sum sqrt(p q)) of the relative powers p and q, mean over components: from 0, the same, to 1, apart.

    truth, generated: (samples, runs, dimension), of one number of samples. A run of `generated` that is not finite has
    the distance 1, and so has a component of it without power; the result is the mean by share of runs.
    """
    kept = np.isfinite(generated).all(axis=(0, 2))
    if not kept.any():
        return 1.0
    p, q = power(truth, sampling, width), power(generated[:, kept], sampling, width)
    apart = np.sqrt(np.maximum(0.0, 1.0 - np.sum(np.sqrt(p * q), axis=0))).mean()
    return float(kept.mean() * apart + (1.0 - kept.mean()))


def _smoothed(spectrum: Array, bins: float) -> Array:
    """Convolved along the first axis with a Gaussian of that many bins, the ends mirrored."""
    radius = min(int(np.ceil(CUT * bins)), len(spectrum))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(bins, 1e-9)) ** 2)
    padded = np.pad(spectrum, ((radius, radius), (0, 0)), mode="symmetric")
    return np.stack([np.convolve(column, kernel / kernel.sum(), mode="valid") for column in padded.T], axis=1)
