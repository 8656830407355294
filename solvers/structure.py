"""What the coefficients of a method preserve: contractivity, quadratic invariants, time reversal; decided exactly.

Notation of E. Hairer, G. Wanner, *Solving Ordinary Differential Equations II* (2nd ed., 1996), section IV.12, and of
E. Hairer, C. Lubich, G. Wanner, *Geometric Numerical Integration* (2nd ed., 2006), chapters II, V and VI.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

from .exact_algebra import Matrix, semidefinite
from .partitioned_tableau import PartitionedTableau
from .quadratic import Scalar
from .tableau import Tableau


def irreducible(tableau: Tableau) -> tuple[Matrix, Sequence[Scalar]]:
    """A and b of the same method without superfluous stages (Hairer, Wanner, IV.12, definitions 12.15 and 12.17).

    Left out are stages that the result does not depend on (reducible after Dahlquist and Jeltsch), such as the last
    one of an FSAL pair; merged are stages that are equal for every field (reducible after Hundsdorfer and Spijker).
    """
    (A,), (b,) = _reduced([tableau.A], [tableau.b])
    return A, b


def _reduced(
    tables: Sequence[Matrix], weights: Sequence[Sequence[Scalar]]
) -> tuple[Sequence[Matrix], Sequence[Sequence[Scalar]]]:
    """Tables over the same stages without those that are superfluous in all of them together."""
    while True:
        classes = _equal_stages(tables)
        tables = [[[_total(A[group[0]][j] for j in other) for other in classes] for group in classes] for A in tables]
        weights = [[_total(b[j] for j in group) for group in classes] for b in weights]
        keep = _reaching(tables, weights)
        tables = [[[A[i][j] for j in keep] for i in keep] for A in tables]
        weights = [[b[i] for i in keep] for b in weights]
        if len(keep) == len(classes) and all(len(group) == 1 for group in classes):
            return tables, weights


def _total(values: Iterator[Scalar]) -> Scalar:
    return sum(values, Fraction(0))


def _reaching(tables: Sequence[Matrix], weights: Sequence[Sequence[Scalar]]) -> list[int]:
    """The stages that the result depends on."""
    used = {i for b in weights for i, weight in enumerate(b) if weight}
    while more := {j for i in used for A in tables for j, entry in enumerate(A[i]) if entry} - used:
        used |= more
    return sorted(used)


def _equal_stages(tables: Sequence[Matrix]) -> list[list[int]]:
    """The stages in classes, the fewest for which stages of one class have the same sums of each A over every class."""
    stages = list(range(len(tables[0])))
    classes = [stages] if stages else []
    while True:
        finer: dict[tuple[int, tuple[Scalar, ...]], list[int]] = {}
        for number, group in enumerate(classes):
            for i in group:
                sums = tuple(_total(A[i][j] for j in other) for A in tables for other in classes)
                finer.setdefault((number, sums), []).append(i)
        if len(finer) == len(classes):
            return sorted(classes)
        classes = list(finer.values())


def algebraic_matrix(A: Matrix, b: Sequence[Scalar]) -> list[list[Scalar]]:
    """M = B A + A^T B - b b^T with B = diag(b) (Hairer, Wanner, IV.12, eq. 12.5)."""
    s = range(len(b))
    return [[b[i] * A[i][j] + b[j] * A[j][i] - b[i] * b[j] for j in s] for i in s]


def _contracts(A: Matrix, b: Sequence[Scalar]) -> bool:
    return all(weight >= 0 for weight in b) and semidefinite(algebraic_matrix(A, b))


def algebraically_stable(tableau: Tableau) -> bool:
    """B >= 0 and M >= 0 (Hairer, Wanner, IV.12, definition 12.5), of the coefficients as they stand."""
    return _contracts(tableau.A, tableau.b)


def b_stable(tableau: Tableau) -> bool:
    """Whether ||y+ - z+|| <= ||y - z|| for every field with <f(y) - f(z), y - z> <= 0 and every step.

    That is algebraic stability of the irreducible form (Hundsdorfer, Spijker, SIAM J. Numer. Anal. 18 (1981) 583-594;
    Hairer, Wanner, IV.12, theorem 12.18).
    """
    return _contracts(*irreducible(tableau))


def symplectic(tableau: Tableau) -> bool:
    """Whether quadratic invariants are kept and Hamiltonian flows stay symplectic.

    M = 0 for the irreducible form (*Geometric Numerical Integration*, theorems VI.4.3 and VI.7.10).
    """
    return not any(map(any, algebraic_matrix(*irreducible(tableau))))


def symmetric(tableau: Tableau) -> bool:
    """Whether a step back undoes a step: the method is its own adjoint.

    For a permutation s of the irreducible form's stages, a_s(i)s(j) + a_ij = b_j and b_s(j) = b_j for all i, j
    (*Geometric Numerical Integration*, theorem V.2.3).
    """
    A, b = irreducible(tableau)
    return _reversible([A], [b])


def _reversible(tables: Sequence[Matrix], weights: Sequence[Sequence[Scalar]]) -> bool:
    """Whether one permutation of the stages turns every table into its adjoint."""
    stages = range(len(weights[0]))
    pairs = list(zip(tables, weights, strict=True))
    nodes = [[_total(iter(row)) for row in A] for A in tables]

    def fits(chosen: list[int]) -> bool:
        """Whether the last stage chosen agrees with those before it."""
        i, image = len(chosen) - 1, chosen[-1]
        for (A, b), c in zip(pairs, nodes, strict=True):
            if b[image] != b[i] or c[image] + c[i] != _total(iter(b)):
                return False
            for j, other in enumerate(chosen):
                if A[image][other] + A[i][j] != b[j] or A[other][image] + A[j][i] != b[i]:
                    return False
        return True

    return _extends([], stages, fits)


def _extends(chosen: list[int], stages: range, fits: Callable[[list[int]], bool]) -> bool:
    if len(chosen) == len(stages):
        return True
    return any(
        fits([*chosen, image]) and _extends([*chosen, image], stages, fits) for image in stages if image not in chosen
    )


def partitioned_symplectic(method: PartitionedTableau, separable: bool = False) -> bool:
    """b0_i a1_ij + b1_j a0_ji = b0_i b1_j for all i, j, and b0 = b1 unless the Hamiltonian is separable.

    Of the form without superfluous stages, see `irreducible`. *Geometric Numerical Integration*, theorem VI.4.6.
    """
    (A0, A1), (b0, b1) = _reduced(method.A, method.b)
    s = range(len(b0))
    first = all(b0[i] * A1[i][j] + b1[j] * A0[j][i] == b0[i] * b1[j] for i in s for j in s)
    return first and (separable or b0 == b1)


def partitioned_symmetric(method: PartitionedTableau) -> bool:
    """Whether a step back undoes a step: one permutation of the stages turns both tables into their adjoints."""
    return _reversible(*_reduced(method.A, method.b))
