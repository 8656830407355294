"""Chaotic forecasting: the systems against their published numbers, the truth against a Taylor series in extended
precision, the protocol against forecasters and solvers whose scores are known."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from odernn.solvers.solver import build_solver
from odernn.suite.contracts import Budget, Learned, Outcome, Trajectory
from odernn.suite.errors import Diverged, UsageError
from odernn.suite.metrics import METRICS
from odernn.suite.row import encode
from odernn.suite.seeds import stream
from odernn.tasks.chaos import TASK, Chaos, forecast, long_run, lyapunov, truth, view
from odernn.tasks.chaos.long_run import LongRun
from odernn.tasks.chaos.systems import SYSTEMS
from odernn.tasks.chaos.view import View

NAMES = ["lorenz63", "lorenz96", "roessler"]
SMALL = {"initial_conditions": 6, "horizon": 2.0, "warmup": 5, "length": 10, "trajectories": 3, "samples": 60}


# ---- systems -----------------------------------------------------------------------------------------------------


def fields(name, y):
    """The right-hand sides, written out again."""
    if name == "lorenz63":
        x, y, z = y
        return [10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z]
    if name == "roessler":
        x, y, z = y
        return [-y - z, x + 0.2 * y, 0.2 + z * (x - 5.7)]
    return (np.roll(y, -1) - np.roll(y, 2)) * np.roll(y, 1) - y + 8


@pytest.mark.parametrize("name", NAMES)
def test_fields(name):
    y = np.random.default_rng(0).standard_normal((5, SYSTEMS[name].dimension))
    found = SYSTEMS[name].equation.function()(0.0, y)
    for one, row in zip(found, y, strict=True):
        assert one == pytest.approx(np.array(fields(name, row)), rel=1e-13, abs=1e-13)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("lorenz63", 0.9056),  # Sprott, Chaos and Time-Series Analysis, 2003
        ("roessler", 0.0714),  # the same
        ("lorenz96", 1.68),  # Karimi and Paul 2010, Chaos 20:043105
    ],
)
def test_largest_exponents_agree_with_published_ones(name, published):
    assert abs(SYSTEMS[name].exponent - published) < 4 * SYSTEMS[name].exponent_error + 0.005 * published


@pytest.mark.parametrize(
    ("name", "time"), [("lorenz63", 60.0), pytest.param("roessler", 300.0, marks=pytest.mark.slow)]
)
def test_measured_exponents(name, time):
    chaotic = SYSTEMS[name]
    rng = np.random.default_rng(1)
    found = lyapunov.exponents(chaotic.equation, truth.on_attractor(chaotic, 8, rng), time, rng)
    error = found.std(axis=0, ddof=1) / math.sqrt(8)
    assert abs(found[:, 0].mean() - chaotic.exponent) < 5 * error[0]
    assert abs(found[:, 1].mean()) < 5 * error[1] + 2e-3  # the direction of the flow neither grows nor shrinks
    if name == "lorenz63":
        assert found.sum(axis=1) == pytest.approx(-(10 + 1 + 8 / 3), abs=1e-5)  # the trace of the Jacobian is constant
        assert found[:, 2].mean() == pytest.approx(-14.572, abs=5 * error[2])
    else:
        assert found[:, 2].mean() == pytest.approx(-5.3943, abs=5 * error[2])


@pytest.mark.slow
def test_exponents_of_lorenz96_sum_to_minus_its_size():
    chaotic = SYSTEMS["lorenz96"]
    rng = np.random.default_rng(1)
    found = lyapunov.exponents(chaotic.equation, truth.on_attractor(chaotic, 2, rng), 5.0, rng)
    assert found.sum(axis=1) == pytest.approx(-40.0, abs=1e-4)


def test_the_command_prints_exponents_and_moments(capsys):
    lyapunov.main(["lorenz63", "--trajectories", "2", "--time", "5"])
    printed = capsys.readouterr().out
    for expected in ("exponent 1:", "sum: -13.66667", "mean by component:", "sigma", "increment"):
        assert expected in printed


@pytest.mark.parametrize(
    "name", ["lorenz63", *(pytest.param(name, marks=pytest.mark.slow) for name in ("roessler", "lorenz96"))]
)
def test_moments_match_the_training_series(name):
    chaotic = SYSTEMS[name]
    series = truth.training_series(name, 16, 1250)
    assert series.shape == (1250, 16, chaotic.dimension)
    # the mean wanders by a few per cent of sigma over a series of this length
    assert np.abs(series.mean(axis=(0, 1)) - chaotic.mean).max() < 0.15 * max(chaotic.sigma)
    assert series.std(axis=(0, 1)) == pytest.approx(np.array(chaotic.sigma), rel=0.1)
    steps = np.sqrt(np.mean((np.diff(series, axis=0) / chaotic.sigma) ** 2, axis=(0, 1)))
    assert steps == pytest.approx(np.array(chaotic.increment), rel=0.1)


# ---- truth -------------------------------------------------------------------------------------------------------


def convolution(a, b, k):
    return (a[: k + 1] * b[k::-1]).sum(axis=0)


def coefficient(name, c, k):
    """(k + 1) times the next Taylor coefficient, from those up to k; parameters are the nearest doubles."""
    if name == "lorenz96":
        ahead, behind, far = np.roll(c, -1, -1), np.roll(c, 1, -1), np.roll(c, 2, -1)
        return convolution(ahead - far, behind, k) - c[k] + (8 if k == 0 else 0)
    x, y, z = c[..., 0], c[..., 1], c[..., 2]
    if name == "lorenz63":
        rhs = [10 * (y[k] - x[k]), 28 * x[k] - y[k] - convolution(x, z, k)]
        return np.stack([*rhs, convolution(x, y, k) - np.longdouble(8 / 3) * z[k]], -1)
    a, c57 = np.longdouble(0.2), np.longdouble(5.7)
    rhs = [-y[k] - z[k], x[k] + a * y[k], (a if k == 0 else 0) + convolution(z, x, k) - c57 * z[k]]
    return np.stack(rhs, -1)


def taylor(name, y0, dt, steps, order=30):
    """The solution in extended precision at 0, dt, ..., steps dt."""
    y, h = y0.astype(np.longdouble), np.longdouble(dt)
    found = [y]
    for _ in range(steps):
        c = np.zeros((order + 1, *y.shape), np.longdouble)
        c[0] = y
        for k in range(order):
            c[k + 1] = coefficient(name, c, k) / (k + 1)
        y = np.zeros_like(y)
        for k in range(order, -1, -1):
            y = y * h + c[k]
        found.append(y)
    return np.array(found)


@pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="no extended precision on this machine")
@pytest.mark.parametrize(
    ("name", "n"),
    [
        ("lorenz63", 3),
        ("roessler", 3),
        pytest.param("lorenz63", 100, marks=pytest.mark.slow),
        pytest.param("roessler", 100, marks=pytest.mark.slow),
        pytest.param("lorenz96", 100, marks=pytest.mark.slow),
    ],
)
def test_the_truth_follows_the_exact_solution_for_as_long_as_it_claims(name, n):
    chaotic = SYSTEMS[name]
    steps = round(chaotic.valid * chaotic.lyapunov_time / chaotic.dt)
    _, found = truth.windows(name, 0, n, 1, steps)
    error = (found - taylor(name, found[0], chaotic.dt, steps)) / np.array(chaotic.sigma)
    assert np.sqrt((error**2).mean(axis=-1)).max() < 0.004  # one hundredth of the threshold, for every trajectory


def test_trajectories_agree_with_another_method():
    chaotic = SYSTEMS["roessler"]
    y0 = truth.on_attractor(chaotic, 2, np.random.default_rng(0))
    times = np.linspace(0, 10, 11)
    found = truth.trajectories(chaotic.equation, y0, times)
    for i in range(2):
        other = solve_ivp(
            lambda t, y: fields("roessler", y), (0, 10), y0[i], method="Radau", t_eval=times, rtol=1e-9, atol=1e-9
        )
        assert found[:, i] == pytest.approx(other.y.T, abs=1e-5)


def test_training_and_test_share_no_point_and_seeds_share_none():
    train = truth.training_series("lorenz63", 3, 60).reshape(-1, 3)
    sets = [train, *(np.concatenate(truth.windows("lorenz63", seed, 6, 5, 40)).reshape(-1, 3) for seed in (0, 1))]
    for i, one in enumerate(sets):
        for other in sets[:i]:
            assert np.linalg.norm(one[:, None] - other, axis=-1).min() > 1e-4


def test_initial_conditions_are_spread_over_the_attractor():
    chaotic = SYSTEMS["lorenz63"]
    starts = truth.windows("lorenz63", 0, 100, 1, 1)[1][0]
    assert starts.std(axis=0) == pytest.approx(np.array(chaotic.sigma), rel=0.25)
    x, y, _ = truth.windows("roessler", 0, 100, 1, 1)[1][0].T
    assert abs(np.exp(1j * np.arctan2(y, x)).mean()) < 0.4  # its phase mixes slowly, the starts must not share one
    apart = np.linalg.norm((starts[:, None] - starts) / chaotic.sigma, axis=-1)[~np.eye(100, dtype=bool)]
    assert apart.min() > 1e-3


# ---- sequences ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lorenz63", "roessler"])
def test_increments_sum_to_the_trajectory(name):
    task, chaotic = TASK(system=name, **SMALL), SYSTEMS[name]
    batch = task.batch(7, np.random.default_rng(0))
    assert batch.inputs.shape == batch.targets.shape == (10, 7, 3)
    assert batch.inputs.dtype == batch.targets.dtype == np.float64
    assert (batch.weights == np.ones((10, 7))).all()
    path = batch.inputs[0] + np.cumsum(batch.targets * chaotic.increment, axis=0)
    assert path[:-1] == pytest.approx(batch.inputs[1:], abs=1e-12)
    # in the system's units the next state is where the flow takes it
    y = batch.inputs[0] * chaotic.sigma + chaotic.mean
    for i in range(7):
        end = solve_ivp(lambda t, y: fields(name, y), (0, 10 * chaotic.dt), y[i], rtol=1e-10, atol=1e-10).y[:, -1]
        assert path[-1, i] * chaotic.sigma + chaotic.mean == pytest.approx(end, abs=1e-5)


def test_a_seed_fixes_the_batch():
    task = Chaos(**SMALL)
    one, same, other = (task.batch(5, stream(seed, "chaos/train")) for seed in (1, 1, 2))
    assert (one.inputs == same.inputs).all()
    assert (one.targets == same.targets).all()
    assert (one.inputs != other.inputs).any()


def test_noise_belongs_to_the_series_and_not_to_the_test():
    clean, noisy = Chaos(**SMALL), Chaos(**SMALL, noise=0.1)
    one, again = (noisy.batch(400, np.random.default_rng(0)) for _ in range(2))
    assert (one.inputs == again.inputs).all()
    difference = one.inputs - clean.batch(400, np.random.default_rng(0)).inputs
    assert difference.std() == pytest.approx(0.1, rel=0.1)
    assert len(np.unique(np.round(difference, 12))) <= 3 * 60 * 3  # one draw for each number of the series
    assert noisy.judge(Persistence(3), 0).metrics == clean.judge(Persistence(3), 0).metrics


def test_persistence_scores_one_in_squared_error():
    task = Chaos()
    batch = task.batch(500, np.random.default_rng(0))
    found = task.measure(np.zeros_like(batch.targets), batch)
    assert found["mean_squared_error"] == pytest.approx(1.0, rel=0.1)
    assert found["skill"] == pytest.approx(0.0, abs=0.1)
    assert task.measure(batch.targets, batch) == {"mean_squared_error": 0.0, "skill": 1.0}


# ---- forecasts ---------------------------------------------------------------------------------------------------


class Persistence:
    """Says that nothing changes."""

    def __init__(self, dimension):
        self.dimension = dimension

    def outputs(self, inputs):
        return np.zeros_like(inputs)

    def begin(self, context):
        return np.zeros_like(context[-1])

    def step(self, inputs):
        return np.zeros_like(inputs)


class Flow(Persistence):
    """Knows the equation, and reads nothing but what it is given."""

    def __init__(self, name):
        self.name, self.chaotic = name, SYSTEMS[name]

    def step(self, inputs):
        ends = []
        for y in inputs * self.chaotic.sigma + self.chaotic.mean:
            found = solve_ivp(
                lambda t, y: fields(self.name, y), (0, self.chaotic.dt), y, method="DOP853", rtol=1e-11, atol=1e-11
            )
            ends.append(found.y[:, -1])
        return ((np.array(ends) - self.chaotic.mean) / self.chaotic.sigma - inputs) / self.chaotic.increment

    def begin(self, context):
        return self.step(context[-1])


class Lost(Flow):
    """Follows the flow for so many steps, then answers with `answer`."""

    def __init__(self, name, steps, answer):
        super().__init__(name)
        self.left, self.answer = steps, answer

    def step(self, inputs):
        self.left -= 1
        return super().step(inputs) if self.left >= 0 else np.full_like(inputs, self.answer)


@pytest.mark.parametrize("name", NAMES)
def test_the_persistence_forecaster_gets_the_persistence_baseline(name):
    task = Chaos(system=name, warmup=2, horizon=2.0)
    found, declared = task.judge(Persistence(task.inputs), seed=0).metrics, task.baseline()
    assert found["valid_prediction_time"] == declared["valid_prediction_time"]
    assert found["nrmse"] == declared["nrmse"]
    assert 0 < declared["valid_prediction_time"] < 1.0
    # two independent points of the attractor are sqrt(2) sigma apart on average, the mean is one sigma away
    assert found["climatology_nrmse"] == pytest.approx(1.0, abs=0.15)
    assert 0.5 < declared["nrmse"] < 1.8
    assert found["initial_conditions"] == 100


def test_an_oracle_is_never_wrong():
    found = Chaos(**SMALL).judge(Flow("lorenz63"), seed=3)
    assert found.metrics["valid_prediction_time"] == pytest.approx(2.0, abs=0.02)
    assert found.metrics["valid_prediction_time_censored"] == 1.0
    assert found.metrics["nrmse"] < 1e-8


@pytest.mark.parametrize("answer", [np.nan, np.inf, 1e308])
def test_a_lost_forecast_counts_as_exceeded(answer):
    task, chaotic = Chaos(**SMALL), SYSTEMS["lorenz63"]
    found = task.judge(Lost("lorenz63", 9, answer), seed=0)
    # begin and eight steps are right: states 1 to 9; the tenth is lost
    assert found.metrics["valid_prediction_time"] == pytest.approx(10 * chaotic.dt * chaotic.exponent)
    assert found.metrics["valid_prediction_time_censored"] == 0.0
    assert found.metrics["nrmse"] == math.inf
    assert found.curves["forecast"]["error"][9] < 1e-8
    assert found.curves["forecast"]["error"][10] == math.inf


def test_one_lost_forecast_does_not_take_the_others_along():
    """A recurrent cell raises `Diverged` where one sequence of a batch is not finite: it never sees a lost state."""

    class Strict(Flow):
        def step(self, inputs):
            assert np.isfinite(inputs).all()
            output = super().step(inputs)
            output[0] = np.inf
            return output

    found = Chaos(**SMALL).judge(Strict("lorenz63"), seed=0).metrics
    assert found["valid_prediction_time_censored"] == pytest.approx(5 / 6)
    assert found["nrmse"] == math.inf


def test_the_curve_is_the_first_initial_condition():
    task, chaotic = Chaos(horizon=10.0, initial_conditions=2, warmup=1), SYSTEMS["lorenz63"]
    curve = task.judge(Persistence(3), seed=0).curves["forecast"]
    steps = round(10.0 * chaotic.lyapunov_time / chaotic.dt)
    _, true = truth.windows("lorenz63", 0, 2, 1, steps)
    assert set(curve) == {"time", "truth", "prediction", "error"}
    assert {len(values) for values in curve.values()} == {len(range(0, steps + 1, 2))}
    assert curve["truth"] == pytest.approx(true[::2, 0, 0])
    assert curve["prediction"] == pytest.approx([true[0, 0, 0]] * len(curve["prediction"]))
    assert curve["time"][1] == pytest.approx(2 * chaotic.dt * chaotic.exponent)
    assert curve["error"][0] == 0.0
    expected = np.sqrt(np.mean(((true[2, 0] - true[0, 0]) / chaotic.sigma) ** 2))
    assert curve["error"][1] == pytest.approx(expected)


class Stepper:
    """The true field with a fixed step: Euler, Heun or the classical Runge-Kutta method, or SciPy's DOP853."""

    learns = False

    def __init__(self, method, step):
        self.method, self.h = method, step

    def properties(self):
        return {}

    def learn(self, task, seed, budget):
        raise UsageError("an integrator does not learn.")

    def solve(self, equation, y0, t):
        f = equation.function()
        if self.method == "DOP853":
            found = solve_ivp(
                lambda s, y: f(s, y.reshape(y0.shape)).ravel(),
                (t[0], t[-1]),
                y0.ravel(),
                method="DOP853",
                t_eval=t,
                rtol=1e-10,
                atol=1e-10,
            )
            return Trajectory(t, found.y.T.reshape(len(t), *y0.shape), found.nfev, len(t) - 1)
        h, y, states, calls = self.h, y0, [y0], 0
        for _ in t[1:]:
            for _ in range(round((t[1] - t[0]) / h)):
                k1 = f(0.0, y)
                if self.method == "euler":
                    y, calls = y + h * k1, calls + 1
                elif self.method == "heun":
                    y, calls = y + h / 2 * (k1 + f(0.0, y + h * k1)), calls + 2
                else:
                    k2 = f(0.0, y + h / 2 * k1)
                    k3 = f(0.0, y + h / 2 * k2)
                    k4 = f(0.0, y + h * k3)
                    y, calls = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), calls + 4
            if not np.isfinite(y).all():
                raise Diverged("the solution is not finite")
            states.append(y)
        return Trajectory(t, np.array(states), calls, len(t) - 1)


@pytest.mark.parametrize(
    ("method", "step", "published"),
    # medians over twelve initial conditions against a Taylor series of 192 bits, found when the suite was designed
    [("euler", 0.02, 0.3), ("heun", 0.02, 2.3), ("rk4", 0.02, 7.4), ("rk4", 0.01, 11.4)],
)
def test_the_true_field_is_scored_like_a_model(method, step, published):
    task, chaotic = Chaos(horizon=15.0, warmup=1), SYSTEMS["lorenz63"]  # many windows, computed once
    found = task.evaluate(Stepper(method, step), seed=0, budget=Budget())
    assert found.metrics["valid_prediction_time"] == pytest.approx(published, abs=0.1 + 0.1 * published)
    assert found.metrics["valid_prediction_time_q25"] <= found.metrics["valid_prediction_time"]
    assert found.metrics["valid_prediction_time"] <= found.metrics["valid_prediction_time_q75"]
    assert found.metrics["baseline_valid_prediction_time"] == task.baseline()["valid_prediction_time"]
    steps = round(15.0 * chaotic.lyapunov_time / chaotic.dt)
    stages = {"euler": 1, "heun": 2, "rk4": 4}[method]
    assert found.cost == {"f_calls": stages * steps * round(0.02 / step), "accepted": steps, "rejected": 0}


def test_an_accurate_solver_never_leaves_the_truth():
    found = Chaos(horizon=8.0, initial_conditions=10, warmup=1).evaluate(
        Stepper("DOP853", 0.0), seed=1, budget=Budget()
    )
    assert found.metrics["valid_prediction_time_censored"] == 1.0
    assert found.metrics["nrmse"] < 1e-7


def test_divergence_of_the_true_field_is_left_to_the_runner():
    task = Chaos(**SMALL)

    class Wild(Stepper):
        def solve(self, equation, y0, t):
            with np.errstate(over="ignore", invalid="ignore"):
                return super().solve(equation, 1e3 * y0, t)

    with pytest.raises(Diverged):
        task.evaluate(Wild("euler", 0.02), seed=0, budget=Budget())


def test_a_learner_is_trained_judged_and_put_beside_persistence():
    class Learner:
        learns = True

        def properties(self):
            return {}

        def learn(self, task, seed, budget):
            cost = {"parameters": 0.0, "f_calls": 40.0}  # of one training sequence of ten steps: four a step
            return Learned(Persistence(task.inputs), Outcome(metrics={"train_loss": 1.0}, cost=cost))

        def solve(self, equation, y0, t):
            raise AssertionError("a learner is not given the field")

    task = Chaos(**SMALL)
    found = task.evaluate(Learner(), seed=0, budget=Budget())
    assert found.metrics["valid_prediction_time"] == found.metrics["baseline_valid_prediction_time"]
    assert found.metrics["nrmse"] == found.metrics["baseline_nrmse"]
    assert found.metrics["train_loss"] == 1.0
    assert found.cost["f_calls"] == 4 * round(2.0 * task.chaotic.lyapunov_time / task.chaotic.dt)  # of one forecast
    assert found.properties["memory_length"] == 0


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"system": "lorenz-63"}, "did you mean 'lorenz63'"),
        ({"horizon": 0.0}, "horizon above 0"),
        ({"horizon": 40.0}, "at most 20 Lyapunov times"),
        ({"horizon": math.nan}, "horizon above 0"),
        ({"initial_conditions": 0}, "initial_conditions of at least 1"),
        ({"length": 0}, "length of at least 1"),
        ({"warmup": 0}, "warmup of at least 1"),
        ({"trajectories": 0}, "trajectories of at least 1"),
        ({"noise": -0.1}, "noise of at least 0"),
        ({"samples": 50}, "more samples than the length 50"),
        ({"every": 0}, "every of at least 1"),
        ({"forcing": 1.5}, "forcing from 0 to 1"),
        ({"forcing": math.nan}, "forcing from 0 to 1"),
        ({"window": 41}, "window from 0 to 40 steps"),
        ({"long": -1.0}, "at least 0 Lyapunov times"),
        ({"long": math.inf}, "at least 0 Lyapunov times"),
    ],
)
def test_bad_parameters(bad, message):
    with pytest.raises(UsageError, match=message):
        Chaos(**bad)


# ---- samples further apart ---------------------------------------------------------------------------------------


def test_samples_further_apart_are_of_the_same_trajectories():
    task, fine = Chaos(**SMALL, every=3), Chaos(**{**SMALL, "samples": 178})
    assert task.sampling == pytest.approx(0.06)
    assert task.series().shape == (60, 3, 3)
    assert (task.series() == fine.series()[::3]).all()
    assert (task.series()[1:-1] != fine.series()[1:59]).any()
    context, true = task._windows(0, 2.0)
    finer, truer = Chaos(**{**SMALL, "warmup": 13})._windows(0, 2.0)
    assert (context == finer[::3]).all()
    both = min(len(true), len(truer[::3]))  # either horizon is rounded to its own samples
    assert both > 30
    assert true[:both] == pytest.approx(truer[::3][:both], abs=1e-9)
    assert (len(true) - 1) * task.sampling == pytest.approx(2.0 * task.chaotic.lyapunov_time, abs=task.sampling / 2)


@pytest.mark.parametrize("every", [1, 5])
def test_the_increment_makes_targets_of_order_one(every):
    task = Chaos(every=every, trajectories=8, samples=200)
    targets = task.batch(500, np.random.default_rng(0)).targets
    assert (targets**2).mean(axis=(0, 1)) == pytest.approx(np.ones(3), rel=0.25)
    assert (task.increment == Chaos(every=every, samples=200, noise=0.3, trajectories=2).increment).all()
    ballistic = np.array(SYSTEMS["lorenz63"].increment) * every
    assert (0.7 * ballistic < task.increment).all()
    assert (task.increment < 1.02 * ballistic).all()


def test_an_oracle_of_larger_steps_is_never_wrong():
    class Coarse(Flow):
        def step(self, inputs):
            ends = []
            for y in inputs * self.chaotic.sigma + self.chaotic.mean:
                span = (0, 4 * self.chaotic.dt)
                found = solve_ivp(lambda t, y: fields("lorenz63", y), span, y, method="DOP853", rtol=1e-11, atol=1e-11)
                ends.append(found.y[:, -1])
            return ((np.array(ends) - self.chaotic.mean) / self.chaotic.sigma - inputs) / task.increment

    task = Chaos(**SMALL, every=4)
    found = task.judge(Coarse("lorenz63"), seed=1).metrics
    assert found["valid_prediction_time_censored"] == 1.0
    assert found["nrmse"] < 1e-8
    assert found["smape"] < 1e-5


# ---- feedback ----------------------------------------------------------------------------------------------------


def test_plain_teacher_forcing_has_no_feedback():
    assert [Chaos().feedback(p) for p in (0.0, 0.5, 1.0)] == [None] * 3


def test_forcing_falls_and_the_window_grows_over_half_of_the_updates():
    task = Chaos(length=50, forcing=0.2, window=5)
    found = [task.feedback(p) for p in (0.0, 0.25, 0.5, 1.0)]
    assert [f.truth for f in found] == pytest.approx([1.0, 0.6, 0.2, 0.2])
    assert [f.length for f in found] == [5, 22, None, None]
    assert {f.warmup for f in found} == {10}
    assert {Chaos(forcing=0.5).feedback(p).length for p in (0.0, 0.3, 1.0)} == {None}
    assert {Chaos(window=5).feedback(p).truth for p in (0.0, 0.3, 1.0)} == {1.0}


# ---- observed components -----------------------------------------------------------------------------------------


@pytest.fixture
def partly(monkeypatch):
    """Lorenz-63 of which a learner sees z and x."""
    chaotic = replace(SYSTEMS["lorenz63"], observed=(2, 0))
    monkeypatch.setattr(view, "system", lambda name: chaotic)
    monkeypatch.setattr(forecast, "system", lambda name: chaotic)
    for cached in (view._noisy_series, long_run._true_samples):
        cached.cache_clear()
    yield chaotic
    for cached in (view._noisy_series, long_run._true_samples):
        cached.cache_clear()


def test_a_learner_sees_and_is_scored_on_the_observed_components_alone(partly):
    task, whole = Chaos(**SMALL), Chaos(**SMALL)
    assert (task.inputs, task.outputs) == (2, 2)
    assert task.increment.tolist() == [0.1830, 0.1079]
    clean = truth.training_series("lorenz63", 3, 60)
    assert task.series() == pytest.approx((clean[..., [2, 0]] - [23.554, 0.0]) / [8.619, 7.925])
    assert task.batch(4, np.random.default_rng(0)).inputs.shape == (10, 4, 2)
    seen = task.judge(Persistence(2), seed=0)
    _, true = whole._windows(0, 2.0)
    assert seen.curves["forecast"]["truth"] == pytest.approx(true[:, 0, 2])
    assert 0 < seen.metrics["valid_prediction_time"] < 1.0


def test_the_true_field_starts_from_the_whole_state(partly):
    found = Chaos(**SMALL, long=6.0).evaluate(Stepper("rk4", 0.02), seed=0, budget=Budget())
    assert found.metrics["valid_prediction_time_censored"] == 1.0
    assert found.metrics["nrmse"] < 1e-3
    assert len(found.curves["long"]["model"]) == 2


# ---- the long run ------------------------------------------------------------------------------------------------

STATISTICS = {
    "state_space_divergence",
    "state_space_divergence_floor",
    "escaped",
    "hellinger",
    "hellinger_floor",
    "correlation_dimension",
    "correlation_dimension_true",
}


class Stepped:
    """The classical Runge-Kutta method on the true field, as a forecaster and as its closed loop; the state is the
    forecast, then one number that `spoil` may change."""

    def __init__(self, spoil=lambda state: state):
        self.chaotic, self.spoil = SYSTEMS["lorenz63"], spoil

    def _next(self, z):
        f, h = self.chaotic.equation.function(), self.chaotic.dt
        y = z * self.chaotic.sigma + self.chaotic.mean
        k1 = f(0.0, y)
        k2 = f(0.0, y + h / 2 * k1)
        k3 = f(0.0, y + h / 2 * k2)
        k4 = f(0.0, y + h * k3)
        return (y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4) - self.chaotic.mean) / self.chaotic.sigma

    def begin(self, context):
        return self.step(context[-1])

    def step(self, inputs):
        if inputs.shape[1] == 4:
            return self.spoil(np.concatenate([self._next(inputs[:, :3]), inputs[:, 3:] + 1], axis=1))
        return (self._next(inputs) - inputs) / self.chaotic.increment

    def closed_loop(self, increment):
        assert increment.tolist() == list(self.chaotic.increment)
        return self

    def start(self, context):
        return np.concatenate([self._next(context[-1]), np.zeros((context.shape[1], 1))], axis=1)

    def observe(self, state):
        return state[:, :3]


def small_long(times):
    return Chaos(initial_conditions=4, horizon=1.0, warmup=3, length=10, trajectories=3, samples=60, long=times)


def test_the_long_run_of_the_flow_itself_is_at_the_floor():
    task = small_long(40.0)
    found = task.judge(Stepped(), seed=0)
    assert set(found.metrics) >= STATISTICS
    metrics = found.metrics
    assert 0.3 < metrics["state_space_divergence"] / metrics["state_space_divergence_floor"] < 3.0
    assert metrics["escaped"] < 0.01
    assert metrics["hellinger"] < 0.2
    assert metrics["correlation_dimension"] == pytest.approx(2.05, abs=0.15)
    assert metrics["correlation_dimension_true"] == pytest.approx(2.05, abs=0.15)
    # the map has a fourth number, which only counts: an exponent of zero beside the flow's three
    curve = found.curves["lyapunov"]
    assert len(curve["exponents"]) == len(curve["errors"]) == 4
    assert curve["exponents"][0] == metrics["lyapunov_max"]
    assert abs(metrics["lyapunov_max"] - 0.905) < 5 * metrics["lyapunov_max_error"] < 0.7
    assert curve["exponents"][3] == pytest.approx(-14.57, abs=0.6)
    long = found.curves["long"]
    steps = round(40.0 * task.chaotic.lyapunov_time / 0.02)
    assert long["points"] == 4 * round(0.9 * steps)
    assert len(long["truth"]) == len(long["model"]) == 3
    assert {len(column) for column in long["truth"] + long["model"]} == {500}
    assert 15 < np.mean(long["model"][2]) < 30  # in the system's units


def test_the_long_run_is_the_same_every_time_and_absent_unless_asked_for():
    one, again = (small_long(5.0).judge(Stepped(), seed=0) for _ in range(2))
    assert one.metrics == again.metrics
    without = small_long(0.0).judge(Persistence(3), seed=0)
    assert not STATISTICS & set(without.metrics)
    assert set(without.curves) == {"forecast"}


def test_the_model_starts_where_its_forecast_does():
    task = small_long(5.0)
    _, true = task._windows(0, 1.0)
    run = task._long_run
    forecasts, states = run.follow(Stepped(), task.view.standard(task._windows(0, 1.0)[0]))
    assert forecasts.shape == (run.steps + 1, 4, 3)
    assert forecasts[: len(true)] == pytest.approx(task.view.standard(true), abs=0.01)
    assert states[:, 3].tolist() == [run.steps - 1] * 4
    assert (forecasts[-1] == states[:, :3]).all()


def lost_after(steps, answer):
    """The first run is spoilt after so many steps."""

    def spoil(state):
        late = (state[:, 3] >= steps) & (np.arange(len(state)) == 0) & (len(state) > 1)
        if late.any() and answer == "refuses":
            raise Diverged("the state is not finite")
        return np.where(late[:, None], answer, state) if late.any() else state

    return spoil


@pytest.mark.parametrize("answer", [np.nan, np.inf, 1e8])
def test_a_run_that_is_lost_has_escaped_and_the_others_go_on(answer):
    task = small_long(30.0)
    found = task.judge(Stepped(lost_after(10, answer)), seed=0)
    assert found.metrics["escaped"] == pytest.approx(0.25, abs=0.01)
    assert all(math.isfinite(value) for value in found.metrics.values())
    assert found.metrics["hellinger"] > 0.25
    assert "correlation_dimension" in found.metrics


def test_a_model_that_refuses_a_batch_for_one_of_it_keeps_the_others():
    class Strict(Stepped):
        def step(self, inputs):
            if inputs.shape[1] == 4 and (np.abs(inputs[:, 0] - inputs[:, 0].max()) < 1e-12).any() and inputs[0, 3] > 20:
                raise Diverged("the state is not finite")
            return super().step(inputs)

    found = small_long(5.0).judge(Strict(), seed=0).metrics
    assert found["escaped"] > 0.5  # alone, each is the greatest of its batch: all are lost in the end
    assert "lyapunov_max" not in found


def test_a_model_that_collapses_is_far_from_the_floor():
    class Still(Stepped):
        def step(self, inputs):
            return inputs if inputs.shape[1] == 4 else np.zeros_like(inputs)

    found = small_long(30.0).judge(Still(), seed=0).metrics
    assert found["state_space_divergence"] > 5 * found["state_space_divergence_floor"]
    assert found["hellinger"] == 1.0
    assert found["escaped"] == 0.0
    assert found["lyapunov_max"] == 0.0  # rounding is not an exponent
    assert found["kaplan_yorke"] == 4.0


@pytest.mark.parametrize(("cell", "reason"), [("parroting", "no derivative"), ("climatology", "longer than a step")])
def test_a_forecaster_without_a_tangent_has_no_exponent_but_a_reason(cell, reason):
    task = small_long(5.0)
    solver = build_solver({"cell": cell}, "cpu", "float64", task)
    found = task.evaluate(solver, 0, Budget())
    assert not {"lyapunov_max", "lyapunov_max_error", "lyapunov_sum"} & set(found.metrics)
    assert reason in found.curves["lyapunov"]["reason"]
    assert encode({"curves": dict(found.curves)})


def test_the_floors_are_means_over_independent_true_samples():
    run = small_long(20.0)._long_run
    samples = long_run._true_samples(run)
    assert len(samples) == 1 + long_run.FLOORS
    assert {sample.shape for sample in samples} == {samples[0].shape}
    assert len({float(sample[0, 0, 0]) for sample in samples}) == len(samples)
    padding = np.zeros((run.steps + 1 - len(samples[0]), *samples[0].shape[1:]))
    metrics = [run.statistics(np.concatenate([padding, other]))[0] for other in samples[1:]]
    for name in ("state_space_divergence", "hellinger"):
        assert np.mean([m[name] for m in metrics]) == pytest.approx(metrics[0][f"{name}_floor"])


def test_the_true_field_runs_on_by_its_own_steps():
    found = small_long(60.0).evaluate(Stepper("rk4", 0.02), seed=0, budget=Budget())
    metrics = found.metrics
    assert set(metrics) >= STATISTICS
    assert metrics["state_space_divergence"] < 3 * metrics["state_space_divergence_floor"]
    assert "lyapunov" not in found.curves
    assert "lyapunov_max" not in metrics


def test_a_true_field_that_leaves_has_escaped():
    class Leaves(Stepper):
        def solve(self, equation, y0, t):
            if len(t) > 200:
                raise Diverged("the solution is not finite")
            return super().solve(equation, y0, t)

    found = small_long(30.0).evaluate(Leaves("rk4", 0.02), seed=0, budget=Budget()).metrics
    assert found["escaped"] == 1.0
    assert found["hellinger"] == 1.0
    assert math.isfinite(found["state_space_divergence"])
    assert "correlation_dimension" not in found
    assert "correlation_dimension_true" in found


def test_what_the_long_run_writes_is_declared_and_fits_a_row():
    found = small_long(5.0).judge(Stepped(), seed=0)
    assert set(found.metrics) <= set(METRICS)
    assert encode({"metrics": dict(found.metrics), "curves": dict(found.curves)})


def test_many_components_are_shown_in_principal_components():
    rng = np.random.default_rng(0)
    run = LongRun(View("lorenz96"), 1.0, 2)
    generated = rng.standard_normal((run.steps + 1, 2, 40))
    metrics, curve = run.statistics(generated)
    assert curve["projection"] == "principal components"
    assert len(curve["model"]) == 3
    assert "correlation_dimension" not in metrics  # too few points for 40 dimensions
    assert metrics["state_space_divergence"] > 0.0
