"""uRNN of Arjovsky, Shah and Bengio 2016 as a field: the logarithms of its eight unitary factors, summed.

Published: z = D3 R2 F^-1 D2 P R1 F D1 psi + V u, psi+ = z max(|z| + b_r, 0) / |z|, with D_k = diag(exp(i theta_k)),
R_k = I - 2 v_k v_k^* / |v_k|^2, F the unitary discrete Fourier transform, (P psi)_k = psi[permutation[k]].

Generators: i diag(theta_k); i pi v v^* / |v|^2; of F and P the principal logarithm, which gives the eigenvalue -1 the
logarithm + i pi; of F^-1 minus that of F, so that in the sum the two cancel. As F^4 = I, any function of F is a cubic
in F, applied by FFTs; P is diagonal in the Fourier basis of each of its cycles.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from .custom_field import drawn, parameter, widened
from .torch_field import Flow, Linear, Weights
from .unitary import UnitaryField, joined, parted, phase, turned

FACTORS = ("D1", "F", "R1", "P", "D2", "F inverse", "R2", "D3")
_LOGARITHMS = (0.0, math.pi / 2, math.pi, -math.pi / 2)  # over i, of the eigenvalues i^k of F

Action: TypeAlias = Callable[[Tensor], Tensor]


class URNN(UnitaryField):
    """theta_k (n,) start U(-pi, pi), v_k (n,) Glorot-uniform, the learned start U(+-sqrt(3 / (2 n))), as published.

    The permutation is drawn with the weights and is not trained. 7 n recurrent parameters (as published: of each v the
    modulus and a common phase do not act), with V 2 n p, b_r n and the start 2 n.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        constants: Mapping[str, float],
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__("urnn", FACTORS, input_size, hidden_size, device, dtype)
        n = self.hidden_size
        self.thetas = torch.nn.ParameterList(parameter(drawn((n,), math.pi), device, dtype) for _ in range(3))
        bound = math.sqrt(6 / (2 + 2 * n))
        self.reflections = torch.nn.ParameterList(parameter(drawn((n,), bound), device, dtype) for _ in range(4))
        start = math.sqrt(3 / (2 * n))
        self.start_re = parameter(drawn((n,), start), device, dtype)
        self.start_im = parameter(drawn((n,), start), device, dtype)
        permutation = torch.randperm(n)
        angles, basis = cycles(permutation)
        self.permutation: Tensor
        self.angles: Tensor
        self.basis: Tensor
        self.register_buffer("permutation", permutation.to(device=device))
        self.register_buffer("angles", angles.to(device=device, dtype=self.b_r.dtype))
        self.register_buffer("basis", torch.view_as_real(basis).to(device=device, dtype=self.b_r.dtype))

    def weights(self) -> Weights:
        return self.b_r, *self.thetas, *self.reflections

    def initial(self, batch: int) -> Tensor:
        return torch.cat([self.start_re, self.start_im]).expand(batch, -1)

    def generated(self, z: Tensor, weights: Weights) -> Tensor:
        # D1, D2, D3 together; R1, R2; P
        total = 1j * widened(weights[1] + weights[2] + weights[3]) * z
        for which in (4, 6):
            total = total + 1j * math.pi * _projected(_normal(weights, which), z)
        Q = torch.view_as_complex(widened(self.basis))
        return total + (1j * widened(self.angles) * (z @ Q.conj())) @ Q.t()

    def factor(self, index: int, h: float, weights: Weights, linear: Linear) -> Flow:
        action = self._action(index, h, weights, linear)
        return lambda y, drive: parted(action(joined(y)), y)

    def _action(self, index: int, h: float, weights: Weights, linear: Linear) -> Action:
        once = h == 1.0 and linear == "exact"
        match FACTORS[index]:
            case "D1" | "D2" | "D3" as name:
                turns = phase(turned(h * widened(weights[int(name[1])]), linear))
                return lambda z: turns * z
            case "R1" | "R2" as name:
                v = _normal(weights, 4 if name == "R1" else 6)
                change = -2.0 if once else cmath.exp(1j * _angle(h * math.pi, linear)) - 1
                return lambda z: z + change * _projected(v, z)
            case "P":
                permutation = self.permutation
                if once:
                    return lambda z: z[:, permutation]
                Q = torch.view_as_complex(widened(self.basis))
                power = ((Q * phase(turned(h * widened(self.angles), linear))) @ Q.mH).t()
                return lambda z: z @ power
            case name:
                sign = 1.0 if name == "F" else -1.0
                if once:
                    return _transform if name == "F" else _inverse
                return _cubic([cmath.exp(1j * _angle(sign * h * angle, linear)) for angle in _LOGARITHMS])

    def named_weights(self) -> dict[str, Tensor]:
        """The trained numbers, and the permutation."""
        found = {f"theta_{k}": theta for k, theta in enumerate(self.thetas, start=1)}
        found |= dict(zip(("v_1_re", "v_1_im", "v_2_re", "v_2_im"), self.reflections, strict=True))
        found |= {name: getattr(self, name) for name in ("V_re", "V_im", "b_r", "start_re", "start_im")}
        return found | {"permutation": self.permutation}

    def latex(self) -> str:
        from .fields.urnn import field

        return field().latex()


def _angle(angle: float, linear: Linear) -> float:
    return float(turned(torch.tensor(angle, dtype=torch.float64), linear))


def _normal(weights: Weights, which: int) -> Tensor:
    """v / |v| of the reflection whose real part is that weight."""
    re, im = widened(weights[which]), widened(weights[which + 1])
    return torch.complex(re, im) / (re * re + im * im).sum().sqrt()


def _projected(v: Tensor, z: Tensor) -> Tensor:
    """v v^* z, |v| = 1."""
    return (z @ v.conj()).unsqueeze(-1) * v


def _transform(z: Tensor) -> Tensor:
    found: Tensor = torch.fft.fft(z, norm="ortho")
    return found


def _inverse(z: Tensor) -> Tensor:
    found: Tensor = torch.fft.ifft(z, norm="ortho")
    return found


def _cubic(values: list[complex]) -> Action:
    """The function of F that takes the eigenvalue i^k to values[k].

    Its projector on that eigenvalue is the mean of i^(-k m) F^m over m = 0..3; F^2 reverses the order, but for entry 0.
    """
    unit = (1, 1j, -1, -1j)
    c = [sum(value * unit[-k * m % 4] for k, value in enumerate(values)) / 4 for m in range(4)]

    def action(z: Tensor) -> Tensor:
        reversed_order = torch.roll(z.flip(-1), 1, -1)
        return c[0] * z + c[1] * _transform(z) + c[2] * reversed_order + c[3] * _inverse(z)

    return action


def cycles(permutation: Tensor) -> tuple[Tensor, Tensor]:
    """(angles, Q): P = Q diag(exp(i angles)) Q^*, angles in (-pi, pi], of (P x)_k = x[permutation[k]].

    On a cycle c_0, c_1 = permutation[c_0], ... of length L, the vectors exp(2 pi i m j / L) / sqrt L have eigenvalue
    exp(2 pi i m / L). float64 and complex128.
    """
    n = len(permutation)
    angles, Q = torch.zeros(n, dtype=torch.float64), torch.zeros(n, n, dtype=torch.complex128)
    seen: set[int] = set()
    column = 0
    for first in range(n):
        if first in seen:
            continue
        cycle = [first]
        while (following := int(permutation[cycle[-1]])) != first:
            cycle.append(following)
        seen.update(cycle)
        length = len(cycle)
        m = torch.arange(length)
        waves = phase(2 * math.pi * (torch.outer(m, m) % length).double() / length)
        Q[cycle, column : column + length] = waves / math.sqrt(length)
        angles[column : column + length] = 2 * math.pi * torch.where(2 * m > length, m - length, m).double() / length
        column += length
    return angles, Q
