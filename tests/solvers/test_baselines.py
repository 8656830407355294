"""The library baselines against torch's own cells, their gate equations, and closed parameter counts."""

from __future__ import annotations

import math

import pytest
import torch

from odernn.solvers.baselines import GRU, LSTM
from odernn.suite.errors import UsageError

F64 = torch.float64


def sequence(time: int = 7, batch: int = 3) -> torch.Tensor:
    return torch.randn(time, batch, 2, dtype=F64, generator=torch.Generator().manual_seed(1))


def test_lstm_is_its_gate_equations() -> None:
    torch.manual_seed(0)
    model = LSTM(2, 4, 3, dtype=F64)
    x = sequence()
    weights = dict(model.cell.named_parameters())
    h = c = torch.zeros(3, 4, dtype=F64)
    outputs = []
    for u in x:
        gates = u @ weights["weight_ih_l0"].T + h @ weights["weight_hh_l0"].T + weights["bias_ih_l0"]
        i, f, g, o = gates.chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        assert model.readout is not None
        outputs.append(h @ model.readout.weight.T + model.readout.bias)
    output, (last_h, last_c) = model(x)
    torch.testing.assert_close(output, torch.stack(outputs), rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(last_h[0], h, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(last_c[0], c, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("bias", [0.0, 1.0, 2.5])
def test_the_forget_bias_is_the_number_asked_for(bias: float) -> None:
    cell = LSTM(2, 8, forget_bias=bias).cell
    effective = cell.bias_ih_l0 + cell.bias_hh_l0
    assert (effective[8:16] == bias).all()
    assert effective[:8].abs().max() <= 1 / math.sqrt(8)


def test_no_forget_bias_keeps_torchs_range() -> None:
    torch.manual_seed(0)
    cell = LSTM(2, 400, forget_bias=None).cell
    bound = 1 / math.sqrt(400)
    forget = (cell.bias_ih_l0 + cell.bias_hh_l0)[400:800].abs()
    assert 0.95 * bound < forget.max() <= bound


def test_chrono_biases_are_log_uniform_up_to_t_max() -> None:
    torch.manual_seed(0)
    n, t_max = 4000, 120.0
    cell = LSTM(1, n, forget_bias="chrono", t_max=t_max, dtype=F64).cell
    effective = (cell.bias_ih_l0 + cell.bias_hh_l0).detach()
    u = effective[n : 2 * n].exp()
    assert 1.0 <= u.min() < 1.2
    assert 118.8 < u.max() <= t_max - 1 + 1e-9
    assert u.mean().item() == pytest.approx(t_max / 2, rel=0.03)  # of U[1, t_max - 1]
    torch.testing.assert_close(effective[:n], -effective[n : 2 * n], rtol=0, atol=0)


def test_only_one_lstm_bias_is_trained() -> None:
    model = LSTM(2, 4, 1, dtype=F64)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        model(sequence())[0].square().mean().backward()
        optimiser.step()
    assert not model.cell.bias_hh_l0.any()
    assert not torch.equal(model.cell.bias_ih_l0, LSTM(2, 4, 1, dtype=F64).cell.bias_ih_l0)


@pytest.mark.parametrize(("p", "n", "out"), [(10, 128, 9), (1, 1, 1), (3, 5, None)])
def test_parameter_counts_are_closed_formulas(p: int, n: int, out: int | None) -> None:
    readout = 0 if out is None else out * n + out
    assert LSTM(p, n, out).parameter_count() == 4 * n * (p + n + 1) + readout
    assert GRU(p, n, out).parameter_count() == 3 * n * (p + n) + 4 * n + readout


def test_an_lstm_of_128_on_one_hot_copying_has_the_published_count() -> None:
    """72,329: LSTM of 128 with single biases, one-hot 10 in and 9 out (Tallec and Ollivier 2018, copying)."""
    assert LSTM(10, 128, 9).parameter_count() == 72_329


def test_two_gru_biases_of_reset_and_update_act_only_through_their_sum() -> None:
    torch.manual_seed(0)
    model = GRU(2, 4, 3, dtype=F64)
    x = sequence()
    before = model(x)[0].detach()
    with torch.no_grad():
        model.cell.bias_ih_l0[:8] += 0.5
        model.cell.bias_hh_l0[:8] -= 0.5
    torch.testing.assert_close(model(x)[0], before, rtol=1e-13, atol=1e-14)
    with torch.no_grad():
        model.cell.bias_ih_l0[8:] += 0.5
        model.cell.bias_hh_l0[8:] -= 0.5
    assert (model(x)[0] - before).abs().max() > 1e-3


def test_gru_without_readout_is_torchs() -> None:
    torch.manual_seed(0)
    model, reference = GRU(2, 4, dtype=F64), torch.nn.GRU(2, 4, dtype=F64)
    reference.load_state_dict(model.cell.state_dict())
    x = sequence()
    for got, expected in zip(model(x), reference(x), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=0)


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_state_continues_and_layouts_agree(kind: type[LSTM] | type[GRU]) -> None:
    torch.manual_seed(0)
    model = kind(2, 4, 3, dtype=F64)
    turned = kind(2, 4, 3, batch_first=True, dtype=F64)
    turned.load_state_dict(model.state_dict())
    x = sequence()
    whole = model(x)[0]
    first, state = model(x[:3])
    torch.testing.assert_close(torch.cat([first, model(x[3:], state)[0]]), whole, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(turned(x.transpose(0, 1))[0].transpose(0, 1), whole, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(model(x[:, 1])[0], whole[:, 1], rtol=1e-13, atol=1e-14)


def test_wrong_arguments_get_one_sentence() -> None:
    for make in (lambda: LSTM(0, 3), lambda: LSTM(3, 0), lambda: GRU(3, 0), lambda: GRU(0, 3), lambda: GRU(3, 3, 0)):
        with pytest.raises(UsageError, match="at least 1"):
            make()
    with pytest.raises(UsageError, match="did you mean 'chrono'"):
        LSTM(2, 3, forget_bias="crono", t_max=10)
    for t_max in (None, 2, float("inf"), float("nan")):
        with pytest.raises(UsageError, match="t_max"):
            LSTM(2, 3, forget_bias="chrono", t_max=t_max)
    with pytest.raises(UsageError, match="finite"):
        LSTM(2, 3, forget_bias=float("nan"))
    for model in (LSTM(2, 3), GRU(2, 3)):
        with pytest.raises(UsageError, match="4 channels"):
            model(torch.zeros(5, 1, 4))
