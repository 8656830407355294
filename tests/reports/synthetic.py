"""Made-up rows of every task and every status, as rows.jsonl would hold them. No number here was measured."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import numpy as np

ENVIRONMENT = {
    "version": "0.1.0",
    "revision": "0123456789ab",
    "dirty": False,
    "python": "3.11.2",
    "packages": {"torch": "2.13.0", "numpy": "2.4.6"},
    "cpu": "a processor, 2 cores",
    "gpu": None,
    "threads": 1,
}
POLYNOMIALS = {
    "euler": [1.0, 1.0],
    "heun2": [1.0, 1.0, 0.5],
    "midpoint": [1.0, 1.0, 0.5],
    "ssp33": [1.0, 1.0, 0.5, 1 / 6],
    "rk4": [1.0, 1.0, 0.5, 1 / 6, 1 / 24],
    "dormand-prince54": [1.0, 1.0, 0.5, 1 / 6, 1 / 24, 1 / 120, 1 / 600],
}
ORDERS = {"euler": 1, "heun2": 2, "midpoint": 2, "ssp33": 3, "rk4": 4, "dormand-prince54": 5}
STEPS = 300
HOSTILE = "<script>alert(1)</script>"
FORMULA = "=cmd()"
SPECIAL = "a_b&%$x_1$|*{}~^\\#"


def row(task: dict[str, Any], solver: dict[str, Any], seed: int = 0, **parts: Any) -> dict[str, Any]:
    """One whole row; parts replace its sections."""
    made: dict[str, Any] = {
        "schema": 1,
        "experiment": "synthetic",
        "task": task,
        "solver": solver,
        "budget": {"updates": 300, "batch": 32},
        "seed": seed,
        "device": "cpu",
        "dtype": "float32",
        "status": "ok",
        "reason": "",
        "metrics": {},
        "curves": {},
        "cost": {"seconds": 1.5},
        "properties": {},
        "environment": ENVIRONMENT,
        "started": "2026-01-02T03:04:05Z",
        "finished": "2026-01-02T03:05:05Z",
    }
    assert set(parts) <= set(made), sorted(set(parts) - set(made))
    made |= parts
    point = {key: made[key] for key in ("schema", "task", "solver", "budget", "seed", "device", "dtype")}
    made["id"] = hashlib.sha256(json.dumps(point, sort_keys=True).encode()).hexdigest()[:16]
    return json.loads(json.dumps(made, allow_nan=False))  # what is not plain JSON would fail here


def cell(
    name: str, tableau: str = "rk4", step: float = 0.5, hidden: int = 32, backend: str = "native"
) -> dict[str, Any]:
    """A solver section; the library baselines have no tableau and no step."""
    if name in ("lstm", "gru"):
        return {"cell": name, "backend": "torch", "hidden": hidden}
    return {"cell": name, "tableau": tableau, "backend": backend, "step": step, "hidden": hidden}


def properties(tableau: str) -> dict[str, Any]:
    """What the solver says of itself."""
    if tableau not in POLYNOMIALS:
        return {"learns": True}
    return {"learns": True, "order": ORDERS[tableau], "stability_polynomial": POLYNOMIALS[tableau]}


def sequence(
    name: str, solver: dict[str, Any], seed: int, skill: float, length: int = 20, **parts: Any
) -> dict[str, Any]:
    """A row of copying or adding with a learning curve that ends at the given skill."""
    rng = np.random.default_rng([seed, length, len(json.dumps(solver))])
    baseline = 1 / 6 if name == "adding" else 0.5
    loss = baseline * (1 - skill)
    updates = list(range(15, 301, 15))
    fall = [loss + (baseline * 1.3 - loss) * math.exp(-u / 60) for u in updates]
    curve = {"updates": updates, "loss": fall, "test": [f * float(np.exp(0.08 * rng.normal())) for f in fall]}
    metrics = {
        "skill": skill,
        "train_loss": loss,
        "gradient_ratio": 10 ** (2 * skill - 2),
        "gradient_ratio_before": 1e-3,
    }
    if name == "adding":
        primary = "mean_squared_error"
        metrics |= {"mean_squared_error": loss, "baseline_mean_squared_error": baseline}
    else:
        primary = "accuracy"
        metrics |= {"accuracy": 0.125 + 0.875 * skill, "baseline_accuracy": 0.125}
        metrics |= {"cross_entropy": loss, "baseline_cross_entropy": baseline}
    size = int(solver["hidden"])
    step = float(solver.get("step", 1.0))
    spectra = [step * (rng.normal(-1.0, 0.35, size) + 1j * rng.normal(0, 0.7 * k, size)) for k in (0.6, 1.4)]
    known = properties(solver.get("tableau", "")) | {"primary_metric": primary, "memory_length": length}
    made: dict[str, Any] = {
        "metrics": metrics,
        "curves": {
            "learning": curve,
            "spectrum_before": [[float(z.real), float(z.imag)] for z in spectra[0]],
            "spectrum_after": [[float(z.real), float(z.imag)] for z in spectra[1]],
        },
        "properties": known,
        "cost": {
            "seconds": 12.0 + seed,
            "parameters": size * size + 5 * size,
            "f_calls": 4000.0,
            "train_seconds": 11.0,
        },
    }
    return row({"name": name, "length": length}, solver, seed, **(made | parts))


def diverged(name: str, solver: dict[str, Any], seed: int, reason: str, length: int = 20) -> dict[str, Any]:
    """A training that was lost on its way; its metrics hold what was known until then."""
    updates = [15, 30, 45, 60]
    curve = {"updates": updates, "loss": [0.2, 0.3, 1.5, 20.0], "test": [0.2, 0.35, 2.5, "NaN"]}
    known = properties(solver.get("tableau", "")) | {"memory_length": length}
    task = {"name": name, "length": length}
    made = row(task, solver, seed, status="diverged", reason=reason, curves={"learning": curve}, properties=known)
    made["metrics"] = {"train_loss": "NaN", "gradient_ratio_before": 0.5, "gradient_ratio": "Infinity"}
    return made


def _sequences() -> list[dict[str, Any]]:
    made = []
    skills = {"leaky": 0.3, "antisymmetric": 0.8, "cornn": 0.96, "lstm": 0.7, "gru": 0.75}
    for name in ("copying", "adding"):
        for kind, skill in skills.items():
            for tableau in ("euler", "rk4") if kind not in ("lstm", "gru") else ("",):
                for seed in range(3 if name == "adding" else 2):
                    gain = skill + 0.01 * seed + (0.02 if tableau == "rk4" else 0)
                    made.append(sequence(name, cell(kind, tableau), seed, gain))
    made.append(diverged("adding", cell("leaky", "heun2"), 0, "NaN loss at update 61"))
    made.append(sequence("adding", cell("leaky", "heun2"), 1, 0.2))
    for step in (0.5, 2.0, 4.0):
        for place, tableau in enumerate(("euler", "heun2")):
            for seed in range(2):
                solver = cell("antisymmetric", tableau, step, hidden=16)
                if step > 0.8 * (place + 1) + 0.5 * seed:
                    reason = "NaN loss at update 61" if seed == 0 else "loss 2.1e+05 at update 60"
                    made.append(diverged("copying", solver, seed, reason, length=10))
                else:
                    made.append(sequence("copying", solver, seed, 0.9 - 0.2 * step, length=10))
    return made


def _ladder() -> list[dict[str, Any]]:
    made = []
    for kind, hold in (("cornn", 0.45), ("leaky", 1.2)):
        for length in (8, 16, 32):
            for hidden in (4, 8, 16, 32):
                for seed in range(2):
                    skill = 0.97 if hidden > hold * length else 0.4
                    made.append(sequence("adding", cell(kind, "rk4", hidden=hidden), seed, skill, length))
    return made


def _lorenz(y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.array([10 * (y[1] - y[0]), y[0] * (28 - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]])


def _track(y: np.ndarray[Any, Any], steps: int, h: float) -> np.ndarray[Any, Any]:
    out = [y]
    for _ in range(steps):
        a = _lorenz(y)
        b = _lorenz(y + h / 2 * a)
        c = _lorenz(y + h / 2 * b)
        y = y + h / 6 * (a + 2 * b + 2 * c + _lorenz(y + h * c))
        out.append(y)
    return np.array(out)


def forecast(system: str, solver: dict[str, Any], seed: int, error: float, **parts: Any) -> dict[str, Any]:
    """A chaos row whose prediction starts `error` away from the truth and leaves it as chaos does."""
    start = np.array([1.0 + 0.3 * seed, 2.0, 22.0])
    truth, guess = _track(start, STEPS, 0.02), _track(start + error, STEPS, 0.02)
    gap = np.sqrt((((truth - guess) / [7.9, 9.0, 8.6]) ** 2).mean(1))
    times = 0.906 * 0.02 * np.arange(STEPS + 1)
    valid = float(times[np.argmax(gap > 0.4)]) if (gap > 0.4).any() else float(times[-1])
    known = properties(solver.get("tableau", ""))
    known |= {"primary_metric": "valid_prediction_time", "learns": solver["cell"] != "true-field", "memory_length": 1}
    made: dict[str, Any] = {
        "metrics": {
            "valid_prediction_time": valid,
            "valid_prediction_time_q25": 0.8 * valid,
            "valid_prediction_time_q75": 1.3 * valid,
            "valid_prediction_time_censored": 0.0,
            "initial_conditions": 100,
            "nrmse": min(1.4, 3 * error),
            "baseline_valid_prediction_time": 0.11,
            "baseline_nrmse": 1.1,
        },
        "curves": {
            "forecast": {
                "time": times.tolist(),
                "truth": truth[:, 0].tolist(),
                "prediction": guess[:, 0].tolist(),
                "error": gap.tolist(),
            }
        },
        "properties": known,
        "cost": {
            "seconds": 20.0,
            "parameters": 3000,
            "f_calls": 600.0 * len(POLYNOMIALS.get(solver.get("tableau", ""), "1")),
        },
    }
    return row({"name": "chaos", "system": system}, solver, seed, **(made | parts))


def _forecasts() -> list[dict[str, Any]]:
    made = []
    for system, scale in (("lorenz63", 1.0), ("lorenz96", 3.0)):
        for kind, error in (("cornn", 1e-3), ("leaky", 5e-2), ("lstm", 2e-2)):
            for tableau in ("euler", "rk4") if kind != "lstm" else ("",):
                for seed in range(2):
                    e = scale * error * (3 if tableau == "euler" else 1) * (1 + seed)
                    made.append(forecast(system, cell(kind, tableau, 1.0, 64), seed, e))
        for tableau, error in (("euler", 0.3), ("rk4", 1e-6)):
            solver = {"cell": "true-field", "tableau": tableau, "backend": "native", "step": 0.02}
            made.append(forecast(system, solver, 0, scale * error))
        lost = cell("companion", "rk4", 1.0, 64) | {"ode_order": 2}
        made.append(row({"name": "chaos", "system": system}, lost, 0, status="memory", reason="more than 4 GiB"))
    return made


def ivp(problem: str, tableau: str, backend: str, **solver: Any) -> dict[str, Any]:
    """An integration with an error of the tableau's order and its cost."""
    order, stages = ORDERS[tableau], len(POLYNOMIALS[tableau]) - 1
    if "rtol" in solver:
        error, accepted, rejected = 3 * solver["rtol"], int(40 * solver["rtol"] ** (-1 / order)), 5
    else:
        error, accepted, rejected = max(3 * solver["step"] ** order, 1e-15), int(20 / solver["step"]), 0
    if error > 3:
        error = math.inf
    return row(
        {"name": "ivp", "problem": problem},
        {"cell": "true-field", "tableau": tableau, "backend": backend} | solver,
        dtype="float64",
        metrics={key: error if math.isfinite(error) else "Infinity" for key in ("error", "trajectory_error")},
        cost={
            "seconds": 1e-5 * accepted,
            "solve_seconds": 1e-5 * accepted,
            "f_calls": stages * (accepted + rejected),
            "accepted": accepted,
            "rejected": rejected,
        },
        properties={"primary_metric": "error", "learns": False, "order": order},
    )


def _integrations() -> list[dict[str, Any]]:
    made = []
    for problem in ("lotka-volterra", "pleiades"):
        for tableau in ORDERS:
            for step in (0.4, 0.1):
                for backend in ("native", "scipy"):
                    made.append(ivp(problem, tableau, backend, step=step))
        for rtol in (1e-4, 1e-6, 1e-8):
            made.append(ivp(problem, "dormand-prince54", "torchdiffeq", rtol=rtol))
        lost = {"cell": "true-field", "tableau": "euler", "backend": "native", "step": 2.0}
        task = {"name": "ivp", "problem": problem}
        made.append(row(task, lost, dtype="float64", status="diverged", reason="the state is not finite"))
        made.append(
            row(
                task,
                {"cell": "true-field", "tableau": "heun2", "backend": "native", "step": 3.0},
                dtype="float64",
                status="timeout",
                reason="more than 60 s",
                cost={"seconds": 60.0, "f_calls": 900},
            )
        )
    return made


def _orders() -> list[dict[str, Any]]:
    made = []
    h = [0.2, 0.1, 0.05, 0.025, 0.0125]
    for tableau, order in ORDERS.items():
        for backend in ("native", "scipy"):
            error = [0.1 / order * step**order + 1e-15 for step in h]
            made.append(
                row(
                    {"name": "order"},
                    {"cell": "true-field", "tableau": tableau, "backend": backend},
                    dtype="float64",
                    metrics={"observed_order": order + 0.01},
                    curves={"convergence": {"h": h, "error": error}},
                    properties={"primary_metric": "observed_order", "claimed_order": order, "learns": False},
                )
            )
    return made


def _others() -> list[dict[str, Any]]:
    solver = cell("cornn", "rk4")
    return [
        sequence("adding", solver, 0, 0.9, dtype="float64"),
        sequence("adding", solver, 0, 0.91, device="cuda"),
        row(
            {"name": "adding", "length": 20},
            cell("gru", hidden=8),
            0,
            status="failed",
            reason="RuntimeError: size mismatch",
        ),
        row({"name": "adding", "length": 20}, cell("lstm", hidden=8), 0, status="timeout", reason="more than 600 s"),
        row(
            {"name": "adding", "length": 20},
            cell("leaky", "dormand-prince54", backend="torchdiffeq-adjoint"),
            0,
            status="skipped",
            reason="the adjoint needs a field with weights",
        ),
    ]


def counted(name: str, p: int, t: int, count: float, **parts: Any) -> dict[str, Any]:
    """A row of the task "parameters"."""
    made: dict[str, Any] = {
        "metrics": {"parameters": count, "hidden": t},
        "cost": {"seconds": 0.1, "parameters": count},
        "properties": {"primary_metric": "parameters", "learns": True, "counted": "built", "formula": "some of n"},
    }
    return row({"name": "parameters", "data_length": p, "memory_length": t}, cell(name, "euler"), **(made | parts))


def remembered(solver: dict[str, Any], seed: int, r2: list[float], **parts: Any) -> dict[str, Any]:
    """A row of the task "memory-capacity" with that memory curve."""
    numbers = int(solver["hidden"])
    made: dict[str, Any] = {
        "metrics": {"memory_capacity": sum(r2), "memory_capacity_per_unit": sum(r2) / numbers},
        "curves": {"capacity": {"lag": list(range(len(r2))), "r2": r2}},
        "properties": {"primary_metric": "memory_capacity", "learns": True, "state_numbers": numbers},
    }
    return row({"name": "memory-capacity", "lags": len(r2)}, solver, seed, **(made | parts))


def _memory() -> list[dict[str, Any]]:
    made = []
    for p in (2, 8):
        for t in (4, 16, 64):
            made.append(counted("gru-field", p, t, 3 * (p * t) ** 2))
            made.append(counted("companion", p, t, p * p * (t + 1)))
            made.append(counted("qunn", p, t, 6 * t - 1))
    made.append(counted("urnn", 2, 64, 0, status="failed", reason="too large", metrics={}, cost={"seconds": 0.1}))
    for place, name in enumerate(("leaky", "cornn", "antisymmetric", "lru", "gru-field", "exprnn", "lem")):
        for seed in range(2):
            r2 = [float(np.exp(-lag / (3 + 4 * place))) - 0.01 * seed for lag in range(32)]
            made.append(remembered(cell(name, "euler"), seed, r2))
    lost = cell("unicornn", "euler")
    made.append(row({"name": "memory-capacity", "lags": 32}, lost, status="diverged", reason="NaN in the state"))
    return made


def _norms() -> list[dict[str, Any]]:
    kept = {"strang": 3e-13, "implicit-midpoint": 8e-14, "rk4": 2e-2}
    return [
        row(
            {"name": "norm", "steps": 10_000, "inputs": 2},
            cell("qunn", name),
            metrics={"norm_drift": drift},
            curves={"drift": {"step": [5000, 10_000], "drift": [drift / 2, drift]}},
            properties={"primary_metric": "norm_drift", "learns": True},
        )
        for name, drift in kept.items()
    ]


GATES = (
    r"\begin{aligned}\dot x &= - x + \tanh{\left(c \right)} \sigma\left(a_{o}\right) \\ \dot c &= c "
    r"\left(\sigma\left(a_{f}\right) - 1\right) + \tanh{\left(a_{g} \right)} \sigma\left(a_{i}\right) \\ a_{i} &= "
    r"W_i x + V_{i} u + b_{i} \\ a_{f} &= W_f x + V_{f} u + b_{f}\end{aligned}"
)
PLAIN = r"\begin{aligned}\dot y_{1} &= - y_{1} + \tanh{\left(a_{1} \right)} \\ a_{1} &= W y_{1} + V u + b\end{aligned}"


def corresponding(
    name: str, solver: dict[str, Any], order: float | None = None, equation: str = PLAIN, seed: int = 0, **parts: Any
) -> dict[str, Any]:
    """A row of the task "correspondence": equal to rounding and of the claimed order, if parts say nothing else."""
    claimed = ORDERS.get(solver["tableau"], 1)
    observed = claimed + 0.02 if order is None else order
    h = [0.5 / 2**k for k in range(7)]
    known = {
        "equation": equation,
        "frozen": "the gates, at the old x",
        "integrator": True,
        "paper": "Somebody, A Paper, 1997",
        "wrong": "the output reads the old memory",
        "tableau": solver["tableau"],
        "step": solver["step"],
        "stages": len(POLYNOMIALS.get(solver["tableau"], "12")) - 1,
        "order": claimed,
        "ode_order": 1,
        "nesting_depth": 1.0,
        "primary_metric": "equality_error",
        "learns": True,
    }
    made: dict[str, Any] = {
        "dtype": "float64",
        "metrics": {
            "equality_error": 3e-15,
            "equality_error_one_step": 2e-16,
            "wrong_error": 0.2,
            "memory_order": 1.0,
            "observed_order": observed,
            "limit_gap": 3e-13,
        },
        "curves": {"convergence": {"h": h, "error": [0.1 * step**observed for step in h]}},
        "properties": known | parts.pop("properties", {}),
    }
    made["metrics"] |= parts.pop("metrics", {})
    return row({"name": "correspondence", "row": name}, solver, seed, **(made | parts))


def staged(solver: dict[str, Any], depth: float | str, memory: int | None, **known: Any) -> dict[str, Any]:
    """A row of the task "stages"; memory: the memory order of a cell, None for a tableau alone."""
    metrics: dict[str, Any] = {"nesting_depth": depth} | ({} if memory is None else {"memory_order": float(memory)})
    said = {"primary_metric": "nesting_depth", "learns": memory is not None, "solved_stages": depth == "Infinity"}
    return row({"name": "stages"}, solver, dtype="float64", metrics=metrics, properties=said | known)


def examined(solver: dict[str, Any], seed: int, skill: float, limits: tuple[Any, Any], **parts: Any) -> dict[str, Any]:
    """A row of the task "stability"; limits: the certified and the spectral step, before training."""
    certified, spectral = limits
    made = sequence("adding", solver, seed, skill, **parts)
    rng = np.random.default_rng([seed, len(json.dumps(solver)), int(100 * solver["step"])])
    found: dict[str, Any] = {}
    for when in ("before", "after"):
        growth = math.log(max(abs(1 - solver["step"] * (1 if when == "before" else 1.3)), 0.05))
        found |= {
            f"inside_{when}": 1.0 if growth < 0 else 0.4,
            f"conditioning_{when}": 3.0 + rng.exponential(4),
            f"predicted_growth_{when}": growth,
            f"measured_growth_{when}": growth + 0.2 * rng.exponential(),
            f"certified_step_{when}": certified,
            f"spectral_step_{when}": spectral,
        }
    kind = "none" if certified == 0 else "circle"
    made["task"] = {"name": "stability", "length": 20}
    made["metrics"] = (made["metrics"] if made["status"] == "ok" else {"train_loss": "NaN"}) | found
    made["properties"] |= {"certificate_kind": kind, "certificate_norm": "2", "certificate_reason": "the circle holds"}
    made["id"] = hashlib.sha256(json.dumps([made["id"], "stability"]).encode()).hexdigest()[:16]
    return made


def hunted(solver: dict[str, Any], violations: int | None, inflate: float = 1.0, seed: int = 0) -> dict[str, Any]:
    """A row of the task "certificate"; violations None: nothing was certified."""
    task = {"name": "certificate", "cases": 500, "norm": "2", "inflate": inflate}
    told = {"primary_metric": "violations", "certificate_norm": "2", "certificate_reason": "rho = 1.2, r = 1"}
    if violations is None:
        told |= {"certificate_kind": "none", "certificate_reason": "no norm contracts"}
        return row(task, solver, seed, status="skipped", reason="no certificate in the 2-norm", properties=told)
    broken = violations > 0 and inflate <= 1
    return row(
        task,
        solver,
        seed,
        dtype="float64",
        status="failed" if broken else "ok",
        reason=f"{violations} of 500 cases grow although their step is certified" if broken else "",
        metrics={"cases": 500, "violations": violations, "worst_growth": 1 + 0.001 * violations, "tightness": 0.97},
        properties=told | {"certificate_kind": "circle", "sound": violations == 0},
    )


def _audits() -> list[dict[str, Any]]:
    made = [
        corresponding("elman", cell("leaky", "euler", 1.0), seed=seed, metrics={"equality_error": 1e-15 * (seed + 1)})
        for seed in range(2)
    ]
    made.append(corresponding("lstm", cell("lstm-field", "gauss-seidel-euler", 1.0), equation=GATES))
    away = {"status": "failed", "reason": "it differs from the published cell by 3.0e-02"}
    made.append(corresponding("lem", cell("lem", "gauss-seidel-euler", 1.0), metrics={"equality_error": 0.03}, **away))
    made.append(corresponding("urnn", cell("urnn", "lie", 1.0), equation=r"\input{/etc/passwd} \psi", metrics={}))
    lost = {"status": "failed", "reason": "no cell 'qunn'", "metrics": {}, "properties": {}, "curves": {}}
    made.append(row({"name": "correspondence", "row": "qunn"}, cell("qunn", "strang"), dtype="float64", **lost))
    none = {"observed_order": "NaN", "gap_at_zero_step": 0.4}
    made.append(corresponding("cfc", cell("cfc", "euler", 1.0), properties={"integrator": False}, metrics=none))
    for tableau, depth, stages in (("euler", 1.0, 1), ("rk4", 4.0, 4), ("ssp33", 2.0, 3), ("radau2a2", "Infinity", 2)):
        true = {"cell": "true-field", "tableau": tableau, "backend": "native"}
        made.append(staged(true, depth, None, stages=stages, stages_reaching=stages))
        known = {"stages": stages, "stages_reaching": stages, "ode_order": 1}
        made.append(staged(cell("leaky", tableau), depth, 1, **known))
    made.append(staged(cell("antisymmetric", "euler"), 1.0, 1, stages=1, stages_reaching=1, ode_order=1))
    made.append(staged(cell("cornn", "gauss-seidel-euler"), 2.0, 2, stages=2, stages_reaching=2, ode_order=2))
    for dtype in ("float32", "bfloat16"):
        for tableau, limits in (("euler", (1.0, 1.8)), ("rk4", (1.5, 2.9)), ("midpoint", (0.0, "Infinity"))):
            for step in (0.5, 1.0, 3.0):
                for seed in range(2):
                    lost = {"status": "diverged", "reason": "NaN loss at update 61"} if step > 2 and seed else {}
                    solver = cell("leaky", tableau, step, hidden=8)
                    made.append(examined(solver, seed, 0.9 - 0.2 * step, limits, dtype=dtype, **lost))
    for name, violations, inflate in (
        ("leaky", 0, 1.0),
        ("leaky", 40, 1.05),
        ("gradient", 2, 1.0),
        ("cornn", None, 1.0),
    ):
        made.append(hunted(cell(name, "euler"), violations, inflate))
    return made


def laddered(system: str = "lorenz63") -> list[dict[str, Any]]:
    """The rungs that no cell of the catalogue is, and the true field with a wrong parameter, with long runs."""
    made = []
    rungs = {"climatology": 20.0, "persistence": 5.0, "parroting": 0.5, "nvar": 3e-3, "esn": 1e-3}
    for kind, error in rungs.items():
        made.append(long_run(forecast(system, {"cell": kind}, 0, error), error))
    for kind, error in (("polynomial-field", 1e-4), ("mlp-field", 5e-3)):
        for tableau in ("euler", "rk4"):
            solver = {"cell": kind, "tableau": tableau, "backend": "native"}
            made.append(long_run(forecast(system, solver, 0, error * (30 if tableau == "euler" else 1)), error))
    true = {"cell": "true-field", "tableau": "rk4", "backend": "native", "steps": 4}
    made.append(long_run(forecast(system, true | {"parameter_error": 0.01}, 0, 0.02), 0.0))
    made.append(long_run(forecast(system, true, 0, 1e-7), 0.0))
    own = {"cell": "true-field", "method": "RK45", "backend": "scipy", "rtol": 1e-8}
    made.append(forecast(system, own, 0, 1e-7))
    return made


def long_run(made: dict[str, Any], error: float) -> dict[str, Any]:
    """The row with the statistics of a long run, which falls short the more, the larger the error."""
    track = _track(np.array([1.0, 2.0, 22.0]), STEPS, 0.02)[100:]
    model = np.full_like(track, track[0, 0]) if error > 1 else _track(np.array([2.0, 2.0, 22.0]), STEPS, 0.02)[100:]
    shown: list[list[Any]] = model.T.tolist()
    if error == 5.0:  # one that has escaped, as a row says so
        shown = [["NaN"] * len(column) for column in shown]
    metrics = {
        "state_space_divergence": 0.3 + 2 * error,
        "state_space_divergence_floor": 0.25,
        "escaped": min(1.0, error / 5),
        "hellinger": min(1.0, 0.1 + 0.1 * error),
        "hellinger_floor": 0.08,
        "correlation_dimension": 2.05 - min(2.05, error),
        "correlation_dimension_true": 2.06,
        "lyapunov_max": 0.9 - 0.1 * error,
        "lyapunov_max_error": 0.05,
        "lyapunov_sum": -13.6,
        "kaplan_yorke": 2.06,
        "smape": min(200.0, 20 * error),
    }
    long = {"truth": track.T.tolist(), "model": shown, "projection": "components", "points": 1000}
    return made | {"metrics": made["metrics"] | metrics, "curves": made["curves"] | {"long": long}}


def transferred(
    solver: dict[str, Any], error: float, step: float = 0.02, seed: int = 0, **parts: Any
) -> dict[str, Any]:
    """A row of the task "transfer": a field off by `error`, long valid as trained alone."""
    methods = ("euler", "rk4")
    own = solver["tableau"]
    steps = round(0.02 / step)
    cases = [(tableau, count) for tableau in methods for count in (1, 2)]
    limit = min(12.0, -math.log(error + 1e-6))
    generator = parts.pop("generator", "")
    true = solver["cell"] == "true-field"
    curve = {
        "tableau": [t for t, _ in cases],
        "substeps": [n for _, n in cases],
        "dtype": ["float64"] * len(cases),
        "backend": ["native"] * len(cases),
        "valid_prediction_time": [8.0 + seed if (t, n) == (own, steps) and not true else 0.5 * limit for t, n in cases],
        "f_calls": [100 * n for _, n in cases],
    }
    gap = 0.1 if generator == own or true else 50.0
    refined = [step / 2**k for k in range(4)]
    made: dict[str, Any] = {
        "dtype": "float64",
        "metrics": {
            "valid_prediction_time": 0.5 * limit if true else 8.0 + seed,
            "valid_prediction_time_limit": limit,
            "field_error": error,
            "refinement_gap": gap,
            "baseline_valid_prediction_time": 0.11,
        },
        "curves": {"transfer": curve, "refinement": {"step": refined, "error": [1e-5, *[1e-5 * gap] * 3]}},
        "properties": properties(own)
        | {
            "primary_metric": "valid_prediction_time_limit",
            "learns": not true,
            "trained_with": own,
            "training_step": step,
            "generator_equals_trainer": generator == own,
            "learned_a": "flow" if gap < 2 else "map",
        },
        "cost": {"seconds": 3.0, "parameters": 60},
    }
    task = {"name": "transfer", "system": "lorenz63", "horizon": 12.0} | ({"generator": generator} if generator else {})
    return row(task, solver, seed, **(made | parts))


def _transfers() -> list[dict[str, Any]]:
    made = []
    for tableau, order in (("euler", 1), ("rk4", 4)):
        for count in (1, 2):
            solver = {
                "cell": "polynomial-field",
                "tableau": tableau,
                "backend": "native",
                "substeps": count,
                "degree": 4,
            }
            made.append(transferred(solver, (0.5 / count) ** order, 0.02 / count))
    made.append(transferred({"cell": "polynomial-field", "tableau": "rk4", "backend": "native"}, 1e-9, generator="rk4"))
    made.append(transferred({"cell": "true-field", "tableau": "rk4", "backend": "native", "steps": 1}, 0.0))
    lost = {"cell": "mlp-field", "tableau": "euler", "backend": "native"}
    task = {"name": "transfer", "system": "lorenz63", "horizon": 12.0}
    made.append(row(task, lost, dtype="float64", status="diverged", reason="NaN loss at update 7"))
    return made


def _data() -> list[dict[str, Any]]:
    """Forecasts from more and less data; one of them without a result."""
    made = []
    for kind in ("nvar", "polynomial-field"):
        for noise in (0.0, 0.1):
            for samples in (200, 1000):
                for every in (1, 4):
                    solver = {"cell": kind} | ({"tableau": "rk4", "backend": "native"} if kind != "nvar" else {})
                    found = forecast("lorenz63", solver, 0, 1e-3 * (1 + 100 * noise) * every * 1000 / samples)
                    data = {"noise": noise, "samples": samples, "trajectories": 8, "every": every}
                    if kind == "nvar" and noise and every == 4:
                        found |= {"status": "diverged", "reason": "the fit left the finite numbers", "metrics": {}}
                    made.append(found | {"task": found["task"] | data, "id": f"{kind} {noise} {samples} {every}"})
    return made


def ceiling(dtype: str, value: float, **parts: Any) -> dict[str, Any]:
    """A row of the task "ceiling"."""
    made: dict[str, Any] = {
        "dtype": dtype,
        "metrics": {"ceiling": value, "ceiling_step": 0.005, "agreement": 20.0, "initial_conditions": 50},
        "curves": {
            "ceiling": {
                "step": [0.01, 0.005],
                "valid_prediction_time": [value / 2, value],
                "q25": [value / 3, 0.9 * value],
                "q75": [value, 1.1 * value],
            }
        },
        "properties": {"primary_metric": "ceiling", "learns": False},
    }
    solver = {"cell": "true-field", "tableau": "rk4", "backend": "native"}
    return row({"name": "ceiling", "system": "lorenz63"}, solver, **(made | parts))


def exponents(tableau: str, steps: int, exponent: float, published: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """A row of the task "lyapunov" with that exponent of the stepped map, and 0.905 of the flow."""
    flow = [0.905, 0.0, -14.5716667]
    made: dict[str, Any] = {
        "dtype": "float64",
        "metrics": {
            "lyapunov_max": exponent,
            "lyapunov_max_error": 0.01,
            "kaplan_yorke": 2.06,
            "kaplan_yorke_error": 0.001,
            "flow_lyapunov_max": flow[0],
            "flow_lyapunov_max_error": 0.001,
            "flow_kaplan_yorke": 2.0621,
            "flow_kaplan_yorke_error": 0.0002,
            "lyapunov_sum": -13.6,
            "lyapunov_sum_exact": -41 / 3,
        },
        "curves": {"lyapunov": {"exponents": [exponent], "errors": [0.01]}, "flow": {"exponents": flow, "errors": []}},
        "properties": {"primary_metric": "lyapunov_max", "learns": False, "of": "stepped map", "published": published},
        "cost": {"seconds": 2.0, "f_calls": 1000 * steps},
    }
    solver = {"cell": "true-field", "tableau": tableau, "backend": "native", "steps": steps}
    return row({"name": "lyapunov", "system": "lorenz63"}, solver, **(made | parts))


PUBLISHED = {"exponent": 0.9056, "exponent_error": 0.0001, "dimension": 2.06215, "source": "a page of numbers"}


def _chaos() -> list[dict[str, Any]]:
    made = [*laddered(), *_transfers(), *_data(), ceiling("float32", 9.0), ceiling("float64", 14.0)]
    for tableau, exponent in (("euler", 1.4), ("rk4", 0.9)):
        made += [exponents(tableau, steps, exponent, PUBLISHED) for steps in (1, 4)]
    lost = {"status": "diverged", "reason": "the solution diverged", "metrics": {}, "curves": {}}
    made.append(exponents("heun2", 1, 0.9, PUBLISHED, **lost))
    return made


def conforming(solver: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """A row of the task "conformance" of what runs as rk4."""
    made: dict[str, Any] = {
        "dtype": "float64",
        "metrics": {
            "coefficient_error": 1e-16,
            "trajectory_gap": 2e-15,
            "gradient_gap": 1e-15,
            "observed_order": 4.01,
            "real_interval": 2.785,
            "imaginary_interval": 2.828,
            "calls_per_step": 4.0,
            "jump_error": 1e-9,
            "jump_order": 4.1,
        },
        "curves": {"stability": {"claimed_real": 2.785, "claimed_imaginary": 2.828, "real": 2.785, "imaginary": 2.828}},
        "properties": {
            "primary_metric": "observed_order",
            "learns": False,
            "claimed": {"name": "rk4", "tableau": "rk4", "order": 4},
            "identified": ["rk4"],
            "identified_by": "coefficients",
            "remembers": False,
            "library": solver["backend"],
            "version": "0.0",
        },
    }
    return row({"name": "conformance"}, {"cell": "true-field", "steps": 1} | solver, **(made | parts))


def _conformance() -> list[dict[str, Any]]:
    lost = {"status": "failed", "reason": "no such option", "metrics": {}, "curves": {}}
    return [
        *(conforming({"backend": backend, "tableau": "rk4"}) for backend in ("native", "scipy")),
        conforming({"backend": "torchdiffeq", "tableau": "heun2"}, **lost),
        conforming({"backend": "torchdiffeq", "method": "rk4"}),
    ]


def invented(solver: dict[str, Any], seed: int, surprise: float) -> dict[str, Any]:
    """A row of another package's task, whose primary metric and loss have names that this project does not know."""
    fall = [2.0 - (2.0 - surprise) * place / 4 for place in range(1, 5)]
    return row(
        {"name": "gossip", "rumours": 7},
        solver,
        seed,
        metrics={
            "quaintness": 1 - surprise / 2,
            "baseline_quaintness": 0.25,
            "skill": 1 - surprise / 1.5,
            "surprise_error": surprise,
            "baseline_surprise_error": 1.5,
        },
        curves={"learning": {"updates": [75, 150, 225, 300], "loss": fall, "test": fall}},
        properties={"primary_metric": "quaintness", "learns": True},
    )


def hostile() -> list[dict[str, Any]]:
    """Rows whose names and reasons attack the formats they are written to."""
    odd = sequence("adding", cell(SPECIAL, "_hidden"), 0, 0.8, 30)
    named = sequence("adding", cell(HOSTILE, FORMULA), 0, 0.7, 30)
    named["experiment"] = HOSTILE
    named["environment"] = {**ENVIRONMENT, "cpu": '"><img src="http://example.org/x">'}
    task = {"name": "chaos", "system": SPECIAL}
    return [
        odd,
        named,
        row(
            task,
            {"cell": FORMULA, "tableau": "$\\bad{", "backend": "native"},
            0,
            status="failed",
            reason="@SUM(1)\n\x1b[31m",
        ),
        forecast(HOSTILE, cell(SPECIAL, FORMULA), 0, 0.01),
        ivp(SPECIAL, "euler", HOSTILE, step=0.1),
    ]


def every_task() -> list[dict[str, Any]]:
    """Every task, every status, two devices, two dtypes, hostile names."""
    return [
        *_sequences(),
        *_ladder(),
        *_forecasts(),
        *_chaos(),
        *_conformance(),
        *_integrations(),
        *_orders(),
        *_memory(),
        *_norms(),
        *_audits(),
        *_others(),
        *hostile(),
    ]
