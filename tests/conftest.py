"""What every test runs under: one thread, so that results and timings do not depend on the machine's cores; and the
same examples of properties every time (`--hypothesis-profile=random` draws others)."""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before NumPy and torch are imported, which read them then

os.environ.setdefault("MPLBACKEND", "agg")

import torch  # noqa: E402

torch.set_num_threads(1)

from hypothesis import settings  # noqa: E402

settings.register_profile("named", derandomize=True)
settings.register_profile("random", derandomize=False)
settings.load_profile("named")
