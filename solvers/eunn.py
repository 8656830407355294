"""EUNN of Jing et al. 2017 as a field: layers of planar complex rotations on neighbouring units, then phases.

A rotation of the units (j, j + 1) is [[e^(i phi) cos theta, -e^(i phi) sin theta], [sin theta, cos theta]]: a real
rotation by theta, then the phase phi on unit j. The two are separate parts here, because each has one logarithm that is
smooth in its angle, and their product has none. The first layer holds the pairs (0, 1), (2, 3), ..., the second (1, 2),
(3, 4), ..., and so on in turn; then diag(exp(i omega)), V u, modReLU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from .custom_field import drawn, parameter, whole_number, widened
from .torch_field import Flow, Linear, Weights
from .unitary import UnitaryField, turned

MOST_LAYERS = 4096


class EUNN(UnitaryField):
    """constants: layers L. All angles start U(-pi, pi); that, and the start at psi = 0, are ours.

    A layer that starts at unit 0 holds floor(n / 2) rotations, one at unit 1 floor((n - 1) / 2), of two angles each:
    with the n phases L (n - 1) + n recurrent parameters for an even L or an odd n, n^2 for L = n; one more for an odd L
    with an even n. V has 2 n p, b_r n.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        constants: Mapping[str, float],
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        layers = whole_number("eunn", "layers", constants["layers"], 1, MOST_LAYERS)
        factors = [f"{what} {layer}" for layer in range(1, layers + 1) for what in ("rotation", "phase")]
        super().__init__("eunn", (*factors, "diagonal"), input_size, hidden_size, device, dtype)
        self.layers = layers
        sizes = [pairs(self.hidden_size, layer) for layer in range(self.layers) for _ in range(2)]
        self.angles = torch.nn.ParameterList(
            parameter(drawn((size,), math.pi), device, dtype) for size in (*sizes, self.hidden_size)
        )

    def weights(self) -> Weights:
        return self.b_r, *self.angles

    def generated(self, z: Tensor, weights: Weights) -> Tensor:
        total = 1j * self._phases(len(self.factors) - 1, weights) * z
        for index in range(0, 2 * self.layers, 2):
            first, pairs, last = self._cut(z, index)
            theta = widened(weights[1 + index])
            moved = torch.stack([-theta * pairs[..., 1], theta * pairs[..., 0]], dim=-1).flatten(-2)
            total = total + torch.cat([torch.zeros_like(first), moved, torch.zeros_like(last)], dim=-1)
            total = total + 1j * self._phases(index + 1, weights) * z
        return total

    def factor(self, index: int, h: float, weights: Weights, linear: Linear) -> Flow:
        if index % 2 == 0 and index < 2 * self.layers:
            return self._rotation(index, h, weights, linear)
        angle = turned(h * self._phases(index, weights), linear)
        cos, sin = torch.cos(angle), torch.sin(angle)

        def flow(y: Tensor, drive: Tensor) -> Tensor:
            re, im = y.chunk(2, -1)
            return torch.cat([cos * re - sin * im, sin * re + cos * im], dim=-1).to(y.dtype)

        return flow

    def _rotation(self, index: int, h: float, weights: Weights, linear: Linear) -> Flow:
        angle = turned(h * widened(weights[1 + index]), linear)
        cos, sin = torch.cos(angle), torch.sin(angle)

        def flow(y: Tensor, drive: Tensor) -> Tensor:
            first, pairs, last = self._cut(y.reshape(len(y), 2, -1), index)
            a, b = pairs.unbind(-1)
            moved = torch.stack([cos * a - sin * b, sin * a + cos * b], dim=-1).flatten(-2).to(y.dtype)
            return torch.cat([first, moved, last], dim=-1).flatten(1)

        return flow

    def _cut(self, v: Tensor, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Units before, in pairs (..., pairs, 2), and after the rotations of a layer."""
        first, count = index // 2 % 2, pairs(self.hidden_size, index // 2)
        middle = v[..., first : first + 2 * count].unflatten(-1, (count, 2))
        return v[..., :first], middle, v[..., first + 2 * count :]

    def _phases(self, index: int, weights: Weights) -> Tensor:
        """The phase of every unit (n,), 0 where it has none."""
        phi = widened(weights[1 + index])
        if index == 2 * self.layers:
            return phi
        first = index // 2 % 2
        spread = torch.stack([phi, torch.zeros_like(phi)], dim=-1).flatten()
        return torch.nn.functional.pad(spread, (first, self.hidden_size - first - len(spread)))

    def named_weights(self) -> dict[str, Tensor]:
        names = [f"{what}_{layer}" for layer in range(1, self.layers + 1) for what in ("theta", "phi")]
        found = dict(zip((*names, "omega"), self.angles, strict=True))
        return found | {"V_re": self.V_re, "V_im": self.V_im, "b_r": self.b_r}

    def latex(self) -> str:
        from .fields.eunn import field

        return field().latex()


def pairs(units: int, layer: int) -> int:
    """How many rotations a layer holds, counted from 0."""
    return (units - layer % 2) // 2
