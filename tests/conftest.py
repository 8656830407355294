"""What every test runs under: one thread, so that results and timings do not depend on the machine's cores."""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before NumPy and torch are imported, which read them then

os.environ.setdefault("MPLBACKEND", "agg")

import torch  # noqa: E402

torch.set_num_threads(1)
