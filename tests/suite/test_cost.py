"""Wall time and peak memory of a block."""

import sys
import time

import numpy as np
import psutil
import pytest

from odernn.suite.cost import measured, peak_memory_mib


def test_peak_memory_is_the_resident_set_in_mib() -> None:
    """The unit is checked against psutil: the peak is at least what is resident now at most what the machine has."""
    resident = psutil.Process().memory_info().rss / 2**20
    assert 0.9 * resident < peak_memory_mib() < psutil.virtual_memory().total / 2**20


def test_peak_memory_follows_a_large_allocation() -> None:
    before = peak_memory_mib()
    size = int(before + 64)  # MiB: more than was ever resident
    block = np.ones(size * 2**20, dtype=np.uint8)
    with measured() as cost:
        pass
    assert block[-1] == 1
    assert cost.peak_memory_mib > size


def test_seconds_are_wall_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 12.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    with measured() as cost:
        assert cost.seconds == 0.0
    assert cost.seconds == 2.5
    assert cost.row() == {"seconds": 2.5, "peak_memory_mib": cost.peak_memory_mib}


def test_a_failing_block_is_measured_too(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([1.0, 4.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    seen = []

    def fail() -> None:
        with measured() as cost:
            seen.append(cost)
            raise ValueError("no luck")

    with pytest.raises(ValueError, match="no luck"):
        fail()
    assert seen[0].seconds == 3.0
    assert seen[0].peak_memory_mib > 0


@pytest.mark.parametrize(("platform", "mib"), [("linux", 2.0), ("darwin", 2.0 / 1024)])
def test_the_unit_of_ru_maxrss_depends_on_the_platform(
    platform: str, mib: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    class Usage:
        ru_maxrss = 2048

    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda who: Usage)
    assert peak_memory_mib() == mib
