"""The soundness hunt: is a promise of no growth ever broken?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...suite.contracts import Audit, Budget, Outcome, Solver
from ...suite.errors import UsageError

NORMS = ("2", "max")
CASES = 1_000_000


@dataclass(frozen=True)
class Certificate(Audit):
    """Random and adversarial search for weights, starts and inputs with which a certified step stretches a difference.

    cases: how many are tried; norm: "2" or "max"; inflate: multiplies the certified step: above 1 the certificate is
    wrong, and where it is sharp the hunt must break it, or it would prove nothing. A violation makes the row "failed",
    unless inflate asked for it. Raises `UsageError` for a norm or number that makes no sense.
    """

    cases: int = 500
    norm: str = "2"
    inflate: float = 1.0

    name: ClassVar[str] = "certificate"
    primary_metric: ClassVar[str] = "violations"

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise UsageError(f"norm {self.norm!r} is not known: expected one of {', '.join(NORMS)}.")
        if isinstance(self.cases, bool) or not isinstance(self.cases, int) or not 1 <= self.cases <= CASES:
            raise UsageError(f"cases is {self.cases!r}: expected a whole number from 1 to {CASES}.")
        if not 0 < self.inflate < 100:
            raise UsageError(f"inflate is {self.inflate!r}: expected a number above 0 and below 100.")

    def evaluate(self, solver: Solver, seed: int, budget: Budget) -> Outcome:
        """metrics: cases (certified ones), violations, worst_growth, tightness; skipped where nothing is certified."""
        found = solver.hunt(self.cases, seed, self.inflate, self.norm)
        properties = {"primary_metric": self.primary_metric, "certificate_norm": self.norm}
        if found is None:
            reason = f"no certificate in the {'2-norm' if self.norm == '2' else 'maximum norm'} for these cases"
            return Outcome(status="skipped", reason=reason, properties=properties)
        properties |= {"certificate_kind": found["kind"], "certificate_reason": found["reason"]}
        broken = int(found["violations"])
        failed = broken > 0 and self.inflate <= 1
        return Outcome(
            metrics={key: float(value) for key, value in found.items() if isinstance(value, int | float)},
            properties={**properties, "sound": broken == 0},
            status="failed" if failed else "ok",
            reason=f"{broken} of {int(found['cases'])} cases grow although their step is certified" if failed else "",
        )


TASK = Certificate
