"""QUNN: a chain of t memory sites with q qubits each, psi' = -i H(u) psi, and 6 t - 1 trained numbers for any input.

    H(u) = sum_k |k><k| (x) sum_j [(a_k + alpha_k e_j(u)) X_j + (b_k + beta_k e_j(u)) Z_j + c_k Z_j Z_(j+1)]
         + sum_(k<t) J_k (|k><k+1| + |k+1><k|) (x) I

A construction of this project: the abstract of Niu, Horesh and Chuang 2019 (arXiv:1904.12933) asks for quantum-inspired
cells with parameters linear in the length of the memory, and says no more of them. The qubits of a site are an open
row (Z_j Z_(j+1) for j < q; with q = 1 there is none and c is idle), the first one the most significant digit of a
component.
The input is encoded as e(u) = E u, E (q, p) fixed:

* code = 0: orthonormal columns, or rows where p > q, drawn once and for all from a seed;
* code = 1: column k holds the binary digits of k, as 0 and 1, first qubit first: for one-hot symbols.

With u held, eliminating the sites 2..t leaves a linear ODE of order t for the 2^q components at site 1 (H is a block
Jacobi matrix, which is similar to a block companion matrix): `ode_order` is t. Of a splitting, the parts are hopping,
X, and Z with ZZ; their flows are exact and mix along the sites by a t x t matrix, else qubit by qubit. In bfloat16
they are unitary to its precision alone.

Longer than most files: the field, its Jacobian and three flows share one layout of the state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from ..suite.errors import UsageError
from .custom_field import drawn, parameter, whole_number, widened
from .torch_field import Flow, Linear, Memo, TorchField, Weights, exponential, positive_size

if TYPE_CHECKING:
    from .engines.writer import Lowered, Operand
    from .tableaux import Method

Value = TypeVar("Value")

MOST_QUBITS = 10
SEED = 20190429
"""Of the projection: part of the cell's definition, as a table of numbers would be."""


class QUNN(TorchField):
    """The field. hidden_size: the sites t; constants: qubits q, code 0 or 1.

    State: 2 * 2^q blocks of t sites, the real parts of the 2^q components first, then the imaginary ones. It starts in
    |0...0> on all sites alike, so that an input acts at once at every site, with that site's own strength; started at
    one site, the chain holds less of its inputs in what the readout sees. J_k starts at pi / (2 t) sqrt(k (t - k)),
    which carries a state from site 1 to site t in time t exactly (Christandl et al. 2004, Phys. Rev. Lett. 92, 187902),
    a step of 1 being one site on average; the other numbers start U(-0.2, 0.2) for alpha and beta and U(-0.1, 0.1) for
    a, b, c. Features: <Z_j> for the q qubits, then the occupations |psi_k|^2 of the t sites.

    weights(): a, b, c, alpha, beta (t,), J (t - 1,). drive(u): e(u) (..., q). Raises `UsageError` for a constant out of
    range, and for code = 1 with more symbols than 2^q.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        constants: Mapping[str, float],
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.name = "qunn"
        self.input_size = positive_size("input_size", input_size)
        self.hidden_size = self.ode_order = positive_size("hidden_size", hidden_size)
        self.qubits = q = whole_number(self.name, "qubits", constants["qubits"], 1, MOST_QUBITS)
        code = whole_number(self.name, "code", constants["code"], 0, 1)
        self.components = D = 2**q
        self.blocks = 2 * D
        self.parts = ("hopping", "X", "Z and ZZ")
        self.feature_size = q + self.hidden_size
        self._flipped = [[c ^ (1 << (q - 1 - j)) for c in range(D)] for j in range(q)]
        partners = [frozenset({c, *(flipped[c] for flipped in self._flipped)}) for c in range(D)]
        self.dependencies = tuple(
            frozenset(other + (D if block < D else 0) for other in partners[block % D]) for block in range(self.blocks)
        )

        t = self.hidden_size
        self.a = parameter(drawn((t,), 0.1), device, dtype)
        self.b = parameter(drawn((t,), 0.1), device, dtype)
        self.c = parameter(drawn((t,), 0.1), device, dtype)
        self.alpha = parameter(drawn((t,), 0.2), device, dtype)
        self.beta = parameter(drawn((t,), 0.2), device, dtype)
        k = torch.arange(1, t, dtype=torch.float64)
        self.J = parameter(math.pi / (2 * t) * torch.sqrt(k * (t - k)), device, dtype)
        dtype = self.J.dtype
        signs = torch.tensor([[1.0 - 2 * (c >> (q - 1 - j) & 1) for c in range(D)] for j in range(q)])
        encoding = projection(q, input_size) if code == 0 else binary(q, input_size)
        quarter = torch.tensor([1.0, -1.0]).reshape(2, 1, 1)
        self.quarter: Tensor
        self.signs: Tensor
        self.pairs: Tensor
        self.encoding: Tensor
        self.register_buffer("signs", signs.to(device=device, dtype=dtype), persistent=False)  # Z_j, (q, 2^q)
        self.register_buffer(
            "pairs", (signs[:-1] * signs[1:]).sum(0).to(device=device, dtype=dtype), persistent=False
        )  # the sum of Z_j Z_(j+1), (2^q,)
        # -i times re + i im is (im, -re): the two exchanged, times this
        self.register_buffer("quarter", quarter.to(device=device, dtype=dtype), persistent=False)
        self.register_buffer("encoding", encoding.to(device=device, dtype=dtype))

    def weights(self) -> Weights:
        return self.a, self.b, self.c, self.alpha, self.beta, self.J

    def drive(self, u: Tensor) -> Tensor:
        return u @ self.encoding.t()

    # ------------------------------------------------------------------------------------------------------- the field

    def forward(self, t: Any, y: Tensor, drive: Tensor, weights: Weights) -> Tensor:
        v = self._split(y)
        energy = self._energy(drive, weights) * v
        for j, x in enumerate(self._turns(drive, weights).unbind(1)):
            energy = energy + x * self._flip(v, j)
        return (self.quarter * (energy + _hop(v, weights[5])).flip(1)).reshape(y.shape)

    def slopes(
        self,
        wanted: tuple[int, ...],
        blocks: Sequence[Tensor],
        drive: Tensor,
        weights: Weights,
        memo: Memo,
        t: Any = 0.0,
    ) -> list[Tensor]:
        if "energy" not in memo:
            turns = self._turns(drive, weights)[:, :, 0, 0].unbind(1)
            memo["energy"] = (self._energy(drive, weights)[:, 0], turns)
        energy, turns = memo["energy"]
        found = []
        for block in wanted:
            c, other = block % self.components, self.components if block < self.components else 0
            v = blocks[other + c]
            slope = energy[:, c] * v + _hop(v, weights[5])
            for x, flipped in zip(turns, self._flipped, strict=True):
                slope = slope + x * blocks[other + flipped[c]]
            found.append(slope if other else -slope)
        return found

    def jacobian(self, y: Tensor, drive: Tensor, weights: Weights, t: Any = 0.0) -> Tensor:
        """[[0, H], [-H, 0]], H real and symmetric."""
        D, sites = self.components, self.hidden_size
        eye, components = torch.eye(sites, dtype=y.dtype, device=y.device), torch.eye(D, dtype=y.dtype, device=y.device)
        H = torch.einsum("bck,cd,kl->bckdl", self._energy(drive, weights)[:, 0], components, eye)
        H = H + torch.einsum("cd,kl->ckdl", components, self._chain(weights[5]))
        for x, flipped in zip(self._turns(drive, weights).unbind(1), self._flipped, strict=True):
            H = H + torch.einsum("bk,cd,kl->bckdl", x[:, 0, 0], components[flipped], eye)
        H = H.reshape(len(H), D * sites, D * sites)
        none = torch.zeros_like(H)
        return torch.cat([torch.cat([none, H], dim=-1), torch.cat([-H, none], dim=-1)], dim=-2)

    def initial(self, batch: int) -> Tensor:
        y = self.J.new_zeros(batch, self.blocks * self.hidden_size)
        y[:, : self.hidden_size] = self.hidden_size**-0.5
        return y

    def features(self, y: Tensor) -> Tensor:
        v = y.reshape(*y.shape[:-1], 2, self.components, self.hidden_size)
        weight = (v * v).sum(-3)
        return torch.cat([weight.sum(-1) @ self.signs.t(), weight.sum(-2)], dim=-1)

    # ------------------------------------------------------------------------------------------------- compiled engines

    def lowered(self, method: Method) -> Lowered:
        """See `engines.operands.Programmed`."""
        from .engines.qunn import lowered

        return lowered(self.qubits, method)

    def operand(self, operand: Operand, h: float, weights: Weights) -> Tensor:
        """See `engines.operands.Programmed`."""
        match operand.source:
            case "flow":
                return self._real_hop(operand.share * h, weights, operand.linear)
            case "signs":  # real and imaginary part of i^k
                turns = torch.tensor([1.0, 0.0, -1.0, 0.0] if operand.first == 0 else [0.0, 1.0, 0.0, -1.0])
                return turns.to(weights[5]).repeat(self.hidden_size // 4 + 1)[: self.hidden_size]
            case "chain":
                return self._chain(weights[5])
        return weights[operand.first]

    def shown(self, observed: Tensor) -> Tensor:
        """See `engines.operands.Programmed`: the occupations, then <Z_j> by sites."""
        occupations, signs = observed.split([1, self.qubits], dim=-2)
        return torch.cat([signs.sum(-1), occupations.squeeze(-2)], dim=-1)

    # ------------------------------------------------------------------------------------------------------- the parts

    def flow(self, part: int, h: float, weights: Weights, linear: Linear) -> Flow:
        """exp(-i h part), exactly. "cayley" takes the hopping alone by its Cayley transform: the others are diagonal or
        2 x 2, so that their exact flow costs no more."""
        makers: tuple[Callable[[float, Weights, Linear], Flow], ...] = (self._hopping, self._turning, self._dephasing)
        return makers[part](h, weights, linear)

    def _hop_factors(self, h: float, weights: Weights, linear: Linear) -> tuple[Tensor, Tensor]:
        """(kept, moved), both symmetric (t, t): one step of the hopping is kept - i moved."""
        chain = -1j * h * widened(self._chain(weights[5]))
        if linear == "exact":
            E = exponential(chain)
        else:
            eye = torch.eye(len(chain), dtype=chain.dtype, device=chain.device)
            E = torch.linalg.solve(eye - chain / 2, eye + chain / 2)
        # one step towards the nearest unitary matrix, so that E is unitary to rounding and 10,000 steps are too
        E = 1.5 * E - 0.5 * E @ (E.mH @ E)
        return E.real.to(self.J.dtype), -E.imag.to(self.J.dtype)

    def _real_hop(self, h: float, weights: Weights, linear: Linear) -> Tensor:
        """One step of the hopping for rows of i^k psi_k, an orthogonal (t, t) matrix that acts from the right."""
        J = widened(weights[5])
        chain = h * (torch.diag(J, 1) - torch.diag(J, -1)) if len(J) else J.new_zeros(1, 1)
        if linear == "exact":
            E = _near_exponential(chain)
        else:
            eye = torch.eye(len(chain), dtype=chain.dtype, device=chain.device)
            E = torch.linalg.solve(eye - chain / 2, eye + chain / 2)
        return (1.5 * E - 0.5 * E @ (E.mT @ E)).to(self.J.dtype)  # as `_hop_factors`

    def _hopping(self, h: float, weights: Weights, linear: Linear) -> Flow:
        kept, moved = self._hop_factors(h, weights, linear)

        def flow(y: Tensor, drive: Tensor) -> Tensor:
            v = self._split(y)
            return torch.addcmul(v @ kept, self.quarter, (v @ moved).flip(1)).reshape(y.shape)

        return flow

    def _turning(self, h: float, weights: Weights, linear: Linear) -> Flow:
        def turns(drive: Tensor) -> list[tuple[Tensor, Tensor]]:
            angles = h * self._turns(drive, weights)
            return list(zip(torch.cos(angles).unbind(1), (torch.sin(angles) * self.quarter).unbind(1), strict=True))

        prepared = _last(turns)

        def flow(y: Tensor, drive: Tensor) -> Tensor:
            v = self._split(y)
            for j, (cos, sin) in enumerate(prepared(drive)):
                v = torch.addcmul(cos * v, sin, self._flip(v, j, turned=True))
            return v.reshape(y.shape)

        return flow

    def _dephasing(self, h: float, weights: Weights, linear: Linear) -> Flow:
        def phases(drive: Tensor) -> tuple[Tensor, Tensor]:
            angle = h * self._energy(drive, weights)
            return torch.cos(angle), torch.sin(angle) * self.quarter

        prepared = _last(phases)

        def flow(y: Tensor, drive: Tensor) -> Tensor:
            v = self._split(y)
            cos, sin = prepared(drive)
            return torch.addcmul(cos * v, sin, v.flip(1)).reshape(y.shape)

        return flow

    # ---------------------------------------------------------------------------------------------------------- pieces

    def _split(self, y: Tensor) -> Tensor:
        """(batch, real and imaginary, 2^q components, t sites)."""
        return y.reshape(len(y), 2, self.components, self.hidden_size)

    def _flip(self, v: Tensor, j: int, turned: bool = False) -> Tensor:
        """X_j; turned: with real and imaginary part exchanged."""
        by_digit: Tensor = v.reshape(len(v), 2, 2**j, 2, -1, self.hidden_size)
        return by_digit.flip((1, 3) if turned else (3,)).reshape(v.shape)

    def _turns(self, e: Tensor, weights: Weights) -> Tensor:
        """a_k + alpha_k e_j, (batch, qubits, 1, 1, t)."""
        turns: Tensor = weights[0] + weights[3] * e.unsqueeze(-1)
        return turns.unsqueeze(2).unsqueeze(2)

    def _energy(self, e: Tensor, weights: Weights) -> Tensor:
        """The diagonal of H(u), (batch, 1, 2^q, t)."""
        _, b, c, _, beta, _ = weights
        still = self.signs.sum(0).unsqueeze(-1) * b + self.pairs.unsqueeze(-1) * c
        return (still + (e @ self.signs).unsqueeze(-1) * beta).unsqueeze(1)

    @staticmethod
    def _chain(J: Tensor) -> Tensor:
        """The hopping as a t x t matrix."""
        return torch.diag(J, 1) + torch.diag(J, -1) if len(J) else J.new_zeros(1, 1)

    def named_weights(self) -> dict[str, Tensor]:
        """The trained numbers, and the fixed matrix of the encoding."""
        names = ("a", "b", "c", "alpha", "beta", "J")
        return {**dict(zip(names, self.weights(), strict=True)), "encoding": self.encoding}

    def latex(self) -> str:
        from .fields.qunn import field

        return field().latex()

    def parameter_count(self) -> int:
        """6 t - 1."""
        return sum(p.numel() for p in self.parameters())

    def extra_repr(self) -> str:
        return f"{self.name}, input_size={self.input_size}, sites={self.hidden_size}, qubits={self.qubits}"


def _near_exponential(M: Tensor) -> Tensor:
    """exp(M) to rounding, M (t, t) real. Ten products or so, and twice as many for its gradient: `torch.matrix_exp`
    takes for that one of twice the size, which costs more than ten steps of the sequence.

    Of X = M / 2^s with a norm of at most 1/2 the series to X^15, whose rest is below 1e-18, in powers of X^4 (Paterson
    and Stockmeyer 1973, doi:10.1137/0202007), then s squarings.
    """
    norm = float(M.detach().abs().sum(-1).max())
    squarings = max(0, math.ceil(math.log2(2 * norm))) if 0.0 < norm < math.inf else 0
    X = M / 2**squarings
    X2 = X @ X
    low = (torch.eye(len(M), dtype=M.dtype, device=M.device), X, X2, X2 @ X)
    X4 = X2 @ X2
    rows = [[1 / math.factorial(4 * j + i) for i in range(4)] for j in range(4)]
    E = sum((c * power for c, power in zip(rows[3], low, strict=True)), torch.zeros_like(M))
    for row in rows[2::-1]:
        E = sum((c * power for c, power in zip(row, low, strict=True)), E @ X4)
    for _ in range(squarings):
        E = E @ E
    return E


def _last(prepare: Callable[[Tensor], Value]) -> Callable[[Tensor], Value]:
    """`prepare`, its value kept for as long as it is asked for the same input: a Strang step asks twice."""
    kept: list[tuple[Tensor, Value]] = []

    def value(drive: Tensor) -> Value:
        if not kept or kept[0][0] is not drive:
            kept[:] = [(drive, prepare(drive))]
        return kept[0][1]

    return value


def _hop(v: Tensor, J: Tensor) -> Tensor:
    """(J_(k-1) v_(k-1) + J_k v_(k+1))_k along the last axis."""
    left: Tensor = torch.nn.functional.pad(J * v[..., 1:], (0, 1))
    right: Tensor = torch.nn.functional.pad(J * v[..., :-1], (1, 0))
    return left + right


def projection(qubits: int, inputs: int) -> Tensor:
    """A fixed (q, p) matrix with orthonormal columns, rows where p > q; float64."""
    generator = torch.Generator().manual_seed(SEED)
    tall = torch.randn(max(qubits, inputs), min(qubits, inputs), generator=generator, dtype=torch.float64)
    Q, R = torch.linalg.qr(tall)
    Q = Q * torch.sign(torch.diagonal(R))  # the one factor with a positive diagonal of R, whatever the library chose
    fixed: Tensor = Q if qubits >= inputs else Q.t().contiguous()
    return fixed


def binary(qubits: int, symbols: int) -> Tensor:
    """The (q, p) matrix whose column k holds the binary digits of k, most significant first; float64.

    Raises `UsageError` for more symbols than 2^q.
    """
    if symbols > 2**qubits:
        raise UsageError(
            f"{qubits} qubits have {2**qubits} binary codes for {symbols} symbols: expected qubits of at least "
            f"{(symbols - 1).bit_length()}, or code = 0."
        )
    digits = [[k >> (qubits - 1 - j) & 1 for k in range(symbols)] for j in range(qubits)]
    return torch.tensor(digits, dtype=torch.float64)
