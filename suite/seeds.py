"""Named random streams: every draw in the project comes from one of these."""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, name: str) -> np.random.Generator:
    """An independent generator for the given seed and purpose, the same on every machine.

    `name` says what is drawn ("copying/train"), so that adding one draw never shifts another.
    """
    return np.random.default_rng([seed, zlib.crc32(name.encode())])
