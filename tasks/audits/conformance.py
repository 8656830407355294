"""Conformance: what an integrator really is, asked of the running solver alone.

Past 200 lines because the audit is a list of independent questions, each of which may be refused without the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from ...suite.catalogue import entries, load
from ...suite.contracts import Array, Audit, Budget, Outcome, Solver
from ...suite.errors import Diverged, MissingPackage, UsageError
from ..ivp import find, relative_error
from .order import observed_order, stalled
from .plain_loop import Coefficients, derivative, of, trajectory
from .probes import (
    BOUND,
    Probe,
    Recovered,
    Z,
    by_responses,
    by_slopes,
    claimed_interval,
    counting,
    growing,
    restart_gap,
    rule,
    stability_values,
    stepped,
)

PROBLEM = "driven"
SAME = 1e-12
"""Recovered coefficients this near a tableau's are that tableau's."""

SAME_BY_ITERATION = 1e-8
"""The same for methods whose stages are solved by iteration, and for stability functions."""

REPLAYED = 1e-5
"""A recovered tableau must repeat the solver's own nonlinear steps to this relative difference; an iteration for the
stages may stop there."""

MEMORY = 1e-9
"""Starting afresh in the middle changes a one-step method's result by rounding alone."""

GRIDS = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
FLOOR = 1e-13
COARSE = 0.1
"""With a larger error on the finest grid nothing converges yet, and there is no order to speak of."""

PIECE = 2
"""Intervals of one call in the order probe: a solver that compiles for every length of grid then compiles once."""

INTERVALS = 40
LEVELS = np.array([2.0, -1.0, 3.0, 0.5])
"""The input of the jump probe on four intervals of unit length."""

JUMP_FLOOR = 1e-12
JUMP_GRIDS = (2, 4, 6, 8, 12, 16, 24, 32, 48)


@runtime_checkable
class Given(Protocol):
    """What is read of a tableau of the catalogue; partitioned and splitting methods are not of this kind."""

    @property
    def name(self) -> str: ...

    @property
    def order(self) -> int: ...

    @property
    def stiffly_accurate(self) -> bool: ...

    @property
    def arrays(self) -> Any: ...


@dataclass(frozen=True)
class Conformance(Audit):
    """Black-box examination of a true-field solver that takes one step an interval (`steps = 1`).

    metrics, each absent where its probe was refused: coefficient_error (recovered against claimed tableau, in units of
    max(1, |coefficient|); both steps of a method that reuses its last slope), trajectory_gap (against a plain loop of
    the claimed tableau on an uneven grid, over the largest component), restart_gap, observed_order, real_interval and
    imaginary_interval (`probes.interval`), calls_per_step, gradient_gap (relative), jump_error and jump_order.
    properties: claimed, identified, identified_by, compared (whether anything was known to identify it by), starts_as
    (what a method that remembers does at its first step), remembers, library, version, gradient_reference, refused.
    curves: recovered, stability, order_points, jump_points.
    Seed and budget are not used. Raises `UsageError` for a solver that learns or takes several steps an interval.
    """

    name: ClassVar[str] = "conformance"
    primary_metric: ClassVar[str] = "observed_order"

    def evaluate(self, solver: Solver, seed: int, budget: Budget) -> Outcome:
        if solver.learns:
            raise UsageError("conformance asks for a true-field solver, got a cell that learns.")
        examination = Examination(solver)
        return examination.outcome()


@dataclass(eq=False)
class Examination:
    """One solver under examination: the answers so far."""

    solver: Solver
    metrics: dict[str, float] = field(default_factory=dict)
    curves: dict[str, Any] = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    compiled: bool = False

    def outcome(self) -> Outcome:
        facts = self.solver.properties()
        entries_ = facts.get("solver", {})
        backend = str(entries_.get("backend", ""))
        self.properties |= {"library": backend, "version": _version(backend), "refused": self.refused}
        claimed = _claimed(facts)
        self.properties["claimed"] = claimed
        method = of(_given()[claimed["tableau"]]) if claimed["tableau"] in _given() else None
        ours = entries_.get("method") is None
        self.properties["remembers"] = False
        if entries_.get("rtol") is not None:
            self._ask("own steps", self._own_steps)
            return self._closed()
        self._ask("memory", self._memory)
        found = self._ask("coefficients", lambda: self._recover(method))
        self._identify(found)
        if ours and method is not None:
            self._ask("trajectory", lambda: self._trajectory(method))
        self._ask("order", self._order)
        self._ask("real stability", lambda: self._stability("real", -1.0, method))
        self._ask("imaginary stability", lambda: self._stability("imaginary", 1j, method))
        self._ask("calls", self._calls)
        self._ask("gradient", lambda: self._gradient(method if ours else None, ours))
        self._ask("jumps", self._jumps)
        return self._closed()

    def _closed(self) -> Outcome:
        main = {"coefficient_error", "observed_order", "restart_gap", "calls_per_step"}
        failed = not main & set(self.metrics)
        return Outcome(
            metrics=self.metrics,
            curves=self.curves,
            properties={"primary_metric": Conformance.primary_metric, **self.properties},
            status="failed" if failed else "ok",
            reason="; ".join(dict.fromkeys(self.refused.values())) if failed else "",
        )

    def _ask(self, what: str, question: Callable[[], Any]) -> Any:
        """The answer, or None with the reason kept."""
        try:
            return question()
        except MissingPackage:
            raise
        except UsageError as error:
            self.refused[what] = str(error)
        except Diverged as error:
            self.refused[what] = f"diverged: {error}"
        except np.linalg.LinAlgError as error:
            self.refused[what] = f"no solution of the linear equations: {error}"
        return None

    def _own_steps(self) -> None:
        """What little can be asked of a solver that chooses its steps: evaluations a step, and whether it jumps."""
        problem = find(PROBLEM)
        self.refused["fixed steps"] = "the method chooses its own steps"
        probe, t = counting(problem.equation), np.array([problem.t0, problem.t1])
        found = self.solver.solve(probe, np.array(problem.y0), t)
        if found.accepted > 0:
            self.metrics["calls_per_step"] = probe.calls / (found.accepted + max(0, found.rejected))
        self.properties |= {"remembers": None, "identified": [], "identified_by": "", "compared": False}
        t = np.arange(len(LEVELS) + 1.0)
        end = self.solver.solve(_jump_probe(), np.array([0.5]), t, LEVELS[:, None]).y[-1, 0]
        self.metrics["jump_error"] = abs(float(end) / _jump_end() - 1)

    # ------------------------------------------------------------------------------------------- what runs

    def _memory(self) -> None:
        try:
            gap = restart_gap(self.solver)
        except UsageError:  # some methods step compiled fields alone
            gap, self.compiled = restart_gap(self.solver, compiled=True), True
        self.metrics["restart_gap"] = gap
        self.properties["remembers"] = self.metrics["restart_gap"] > MEMORY

    def _recover(self, claimed: Coefficients | None) -> Recovered | None:
        """The tableau that runs: by unit slopes, else by responses; whichever repeats the solver's own steps."""
        reasons: list[str] = []
        found: Recovered | None = None
        if self.compiled:
            raise UsageError("the evaluations of a compiled field do not show.")
        for probe in (by_slopes, by_responses):
            try:
                found = probe(self.solver)
            except (UsageError, Diverged) as error:
                reasons.append(str(error))
                continue
            self.properties["remembers"] = self.properties["remembers"] or found.remembers
            if found.remembers or self._replays(found.first):
                break
            reasons.append("the recovered tableau does not repeat the solver's steps: stages solved by iteration?")
            found = None
        if found is None:
            raise UsageError("; ".join(dict.fromkeys(reasons)))
        self.curves["recovered"] = {
            "A": found.first.A.tolist(),
            "b": found.first.b.tolist(),
            "c": found.first.c.tolist(),
            "how": found.how,
        }
        if claimed is not None:
            known = _sorted(claimed.active(), found.how)
            steps = [_sorted(step.active(), found.how) for step in (found.first, found.second) if step is not None]
            if found.remembers:
                self.refused["coefficients"] = "a step reads slopes of the step before: no tableau describes it"
            else:
                distance = max(step.distance(known) for step in steps)
                if np.isfinite(distance):
                    self.metrics["coefficient_error"] = distance
                else:
                    self.refused["coefficients"] = f"{len(steps[0].b)} stages run, {len(known.b)} are claimed"
        return found

    def _replays(self, method: Coefficients) -> bool:
        problem = find(PROBLEM)
        t = np.linspace(problem.t0, problem.t0 + 0.2, 3)
        ours = stepped(self.solver, counting(problem.equation, self.compiled), np.array(problem.y0), t).y
        try:
            plain = _plain(method, t)
        except (Diverged, np.linalg.LinAlgError):
            return False
        return bool(np.abs(ours - plain).max() <= REPLAYED * np.abs(plain).max())

    def _identify(self, found: Recovered | None) -> None:
        """Tableaux of the catalogue equal to what runs: by coefficients, else by the stability function, then only
        those that also repeat nonlinear steps."""
        names, how, compared = list[str](), "", found is not None
        remembers = self.properties["remembers"]
        if found is not None:
            same = SAME if found.how == "slopes" else SAME_BY_ITERATION
            step = _sorted(found.first.active(), found.how)
            equal = [n for n, t in _given().items() if step.distance(_sorted(of(t).active(), found.how)) <= same]
            if remembers:
                self.properties["starts_as"] = equal
            else:
                names, how = equal, "coefficients" if equal else ""
        if not names and not remembers and not (found is not None and found.how == "slopes"):
            values = self._ask("stability function", lambda: stability_values(self.solver, self.compiled))
            if values is not None:
                compared = True
                near = [n for n, t in _given().items() if _near(of(t).stability(Z), values)]
                names = self._ask("replay", lambda: [n for n in near if self._replays(of(_given()[n]))]) or []
                how = "stability function" if names else ""
        self.properties |= {"identified": names, "identified_by": how, "compared": compared}

    # --------------------------------------------------------------------------------------- how it behaves

    def _trajectory(self, method: Coefficients) -> None:
        problem = find(PROBLEM)
        part = np.arange(INTERVALS + 1) / INTERVALS
        t = problem.t0 + (problem.t1 - problem.t0) * (part + 0.1 * np.sin(2 * np.pi * part))
        plain = _plain(method, t)
        found = stepped(self.solver, problem.equation, np.array(problem.y0), t).y
        self.metrics["trajectory_gap"] = float(np.abs(found - plain).max() / np.abs(plain).max())

    def _order(self) -> None:
        problem = find(PROBLEM)
        steps, errors = list[float](), list[float]()
        probe = counting(problem.equation, self.compiled)
        for n in GRIDS:
            t = np.linspace(problem.t0, problem.t1, n + 1)
            piece = n if self.properties["remembers"] else PIECE
            try:
                end = np.array(problem.y0)
                for i in range(0, n, piece):
                    end = stepped(self.solver, probe, end, t[i : i + piece + 1]).y[-1]
            except Diverged:  # too coarse a grid for this method
                continue
            steps.append((problem.t1 - problem.t0) / n)
            errors.append(relative_error(problem, end))
            if errors[-1] < FLOOR or stalled(errors):
                break
        self.curves["order_points"] = {"h": steps, "error": errors}
        if errors and errors[-1] > COARSE:
            raise UsageError(f"the error is still {errors[-1]:.2g} on the finest grid, of step {steps[-1]:.2g}.")
        observed = observed_order(steps, errors, FLOOR)
        if observed is None:
            raise UsageError("fewer than three grids have an error above the rounding floor.")
        self.metrics["observed_order"] = observed

    def _stability(self, name: str, direction: complex, claimed: Coefficients | None) -> None:
        remembers = bool(self.properties["remembers"])
        steps, growth = rule(remembers)
        curve = self.curves.setdefault(
            "stability", {"steps": steps, "growth": growth, "bound": BOUND, "real": None, "imaginary": None}
        )
        if claimed is not None:
            curve[f"claimed_{name}"] = claimed_interval(claimed, direction, remembers)
        curve[name] = self.metrics[f"{name}_interval"] = growing(self.solver, direction, self.compiled, remembers)

    def _calls(self) -> None:
        problem = find(PROBLEM)
        counts = list[int]()
        sizes = (8, INTERVALS)
        for n in sizes:
            probe = counting(problem.equation, self.compiled)
            h = (problem.t1 - problem.t0) / INTERVALS
            found = stepped(self.solver, probe, np.array(problem.y0), problem.t0 + h * np.arange(n + 1))
            counts.append(found.f_calls if self.compiled else probe.calls)  # compiled, only the solver can count
        self.metrics["calls_per_step"] = (counts[1] - counts[0]) / (sizes[1] - sizes[0])

    def _gradient(self, method: Coefficients | None, ours: bool) -> None:
        """Against native for our tableaux; native itself, and a library's identified method, against the derivative of
        the plain loop; what is not identified against central differences of its own solution."""
        problem = find(PROBLEM)
        t, y0 = np.linspace(problem.t0, problem.t1, 11), np.array(problem.y0)
        cotangent = np.array([1.0, -0.5])
        found = self.solver.gradient(problem.equation, y0, t, cotangent)
        identified = self.properties["identified"]
        if ours and self.properties["library"] != "native":
            reference = "the same tableau in native"
            exact = self.solver.in_backend("native").gradient(problem.equation, y0, t, cotangent)
        elif method is not None or identified:
            name = self.properties["claimed"]["tableau"] if method is not None else identified[0]
            reference = f"derivative of the plain loop of {name}"
            table = method if method is not None else of(_given()[name])
            f, J = problem.equation.function("numpy"), problem.equation.jacobian("numpy")
            exact = cotangent @ derivative(table, f, J, y0, t)
        else:
            reference = "central differences of its own solution"
            exact = np.zeros(len(y0))
            for i, size in enumerate(np.eye(len(y0)) * 1e-5):
                ends = [self.solver.solve(problem.equation, y0 + s * size, t).y[-1] for s in (1, -1)]
                exact[i] = cotangent @ (ends[0] - ends[1]) / 2e-5
        self.properties["gradient_reference"] = reference
        self.metrics["gradient_gap"] = float(np.abs(found - exact).max() / np.abs(exact).max())

    def _jumps(self) -> None:
        """y' = y (u - y) with u jumping at grid times, against its closed form."""
        probe, exact = _jump_probe(self.compiled), _jump_end()
        steps, errors = list[float](), list[float]()
        for n in JUMP_GRIDS:
            inputs = np.repeat(LEVELS, n)[:, None]
            t = np.linspace(0.0, float(len(LEVELS)), n * len(LEVELS) + 1)
            try:
                end = stepped(self.solver, probe, np.array([0.5]), t, inputs).y[-1, 0]
            except Diverged:
                continue
            steps.append(1 / n)
            errors.append(float(abs(end - exact) / exact))
            if errors[-1] < JUMP_FLOOR:
                break
        if not errors:
            raise Diverged("the solution with jumps diverged on every grid")
        self.curves["jump_points"] = {"h": steps, "error": errors}
        self.metrics["jump_error"] = errors[-1]
        observed = observed_order(steps, errors, JUMP_FLOOR)
        if observed is not None:
            self.metrics["jump_order"] = observed


def _jump_probe(compiled: bool = False) -> Probe:
    def f(t: Any, y: Any, u: Any) -> Any:
        return y * (u - y)

    return Probe("logistic, driven", 1, f, lambda t, y, u: (u - 2 * y)[..., None], (lambda _: f) if compiled else None)


def _jump_end() -> float:
    """The solution of y' = y (u - y) from 1/2 at the end of `LEVELS`: y -> u y e^u / (u + y (e^u - 1)) on each."""
    y = 0.5
    for u in LEVELS.tolist():
        y = u * y * np.exp(u) / (u + y * (np.exp(u) - 1))
    return float(y)


def _plain(method: Coefficients, t: Array) -> Array:
    problem = find(PROBLEM)
    f, J = problem.equation.function("numpy"), problem.equation.jacobian("numpy")
    return trajectory(method, f, J, np.array(problem.y0), t)


def _near(exact: Array, found: Array) -> bool:
    return bool((np.abs(found - exact) <= SAME_BY_ITERATION * np.maximum(1, np.abs(exact))).all())


def _sorted(method: Coefficients, how: str) -> Coefficients:
    """Responses have their stages by node; slopes in the order of evaluation."""
    if how == "slopes":
        return method
    order = np.argsort(method.c, kind="stable")
    return Coefficients(method.A[np.ix_(order, order)], method.b[order], method.c[order])


def _claimed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """name, tableau, order: what the solver says it is; of our tableaux, the tableau itself."""
    said = facts.get("claimed")
    if isinstance(said, Mapping):
        return {
            "name": str(said.get("name", "")),
            "tableau": str(said.get("tableau") or ""),
            "order": said.get("order"),
        }
    solver = facts.get("solver", {})
    name = str(solver.get("tableau") or solver.get("method") or "")
    tableau = name if solver.get("tableau") else ""
    return {"name": name, "tableau": tableau, "order": facts.get("order")}


@cache
def _given() -> Mapping[str, Given]:
    """Every tableau of the catalogue that steps the whole state by one array of coefficients."""
    found = {}
    for name in entries("tableau"):
        try:
            method = load("tableau", name)
        except UsageError:  # another package's, broken
            continue
        if isinstance(method, Given):
            found[name] = method
    return found


def _version(backend: str) -> str:
    try:
        return metadata.version("odernn" if backend in ("native", "") else backend.partition("-")[0])
    except metadata.PackageNotFoundError:
        return ""


TASK = Conformance
