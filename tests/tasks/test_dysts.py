"""The optional systems of dysts: our numbers and not the package's."""

import sys

import numpy as np
import pytest

from odernn.suite.errors import MissingPackage, UsageError
from odernn.tasks.chaos import dysts
from odernn.tasks.chaos.systems import system


@pytest.fixture
def _package():
    pytest.importorskip("dysts")


@pytest.mark.usefixtures("_package")
def test_fields_jacobians_and_the_global_generator():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    y = np.array([[1.0, 2.0, 20.0], [-3.0, 0.5, 11.0]])
    dysts._flow.cache_clear()
    field = dysts.DystsField("dysts:Lorenz", 3)
    x, v, z = y.T
    expected = np.stack([10 * (v - x), x * (28 - z) - v, x * v - 2.667 * z], axis=1)
    assert field.function()(0.0, y) == pytest.approx(expected)
    jacobian = np.array([[[-10, 10, 0], [28 - c, -1, -a], [b, a, -2.667]] for a, b, c in y])
    assert field.jacobian()(0.0, y) == pytest.approx(jacobian, abs=1e-7)
    for name, at in (("Rossler", [0.3, -1.0, 0.2]), ("SprottB", [0.5, 0.1, -0.7])):
        flow = dysts._flow(f"dysts:{name}")
        one = dysts.DystsField(f"dysts:{name}", 3).function()(0.0, np.array(at))
        assert one == pytest.approx(np.array(flow.rhs(np.array(at), 0.0), dtype=float))
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


@pytest.mark.usefixtures("_package")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dysts:Lorens", "did you mean 'Lorenz'"),
        ("dysts:MackeyGlass", "has a delay"),
    ],
)
def test_what_cannot_be_had(name, message):
    with pytest.raises(UsageError, match=message):
        system(name)


@pytest.mark.slow
@pytest.mark.usefixtures("_package")
@pytest.mark.parametrize(
    ("name", "exponent", "rel"),
    # Lorenz: beta 2.667; Rossler: a, b 0.2, c 5.7; SprottB: Sprott 1994, Phys. Rev. E 50:R647
    [("Lorenz", 0.905, 0.08), ("Rossler", 0.0714, 0.3), ("SprottB", 0.210, 0.15)],
)
def test_exponents_are_ours(name, exponent, rel):
    found = system(f"dysts:{name}")
    assert found.exponent == pytest.approx(exponent, rel=rel)
    assert len(found.sigma) == 3
    assert 0.01 < min(found.increment) < max(found.increment) < 1.0


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "dysts.flows", None)
    dysts._flow.cache_clear()
    with pytest.raises(MissingPackage, match="pip install"):
        system("dysts:Lorenz96")
