"""Equations of rows: set as mathematics where they are harmless, and as text where they are not."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odernn.reports import typeset
from odernn.reports.text import latex, to_csv, to_latex, to_markdown
from odernn.reports.typeset import extent, fitted, harmless, lines, plain, to_plain

LEAKY = r"\begin{aligned}\dot y_{1} &= - y_{1} + \tanh{\left(a_{1} \right)} \\ a_{1} &= W y_{1} + V u + b\end{aligned}"


def escaped(text: str) -> str:
    return f"<{text}>"


def test_an_aligned_block_is_taken_apart() -> None:
    assert lines(LEAKY) == [r"\dot y_{1} = - y_{1} + \tanh{\left(a_{1} \right)}", "a_{1} = W y_{1} + V u + b"]
    assert lines(r"\begin{aligned}[t] x &= 1 \\[2pt] y &= \, 2 \end{aligned}") == ["x = 1", "y = 2"]
    assert lines("") == []


def test_names_of_several_letters_are_upright() -> None:
    assert lines("W_kin p + b_{pot} elapsed") == [r"W_{\mathrm{kin}} p + b_{\mathrm{pot}} \mathrm{elapsed}"]
    assert lines(r"\tanh{x} + \operatorname{sign}(y)") == [r"\tanh{x} + \operatorname{sign}(y)"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (r"\dot y_{1} = - y_{1} + \tanh{\left(a_{1} \right)}", "y₁' = -y₁ + tanh(a₁)"),
        (r"\tanh{\left(a_{1} \right)} - \frac{y_{1}}{\tau}", "tanh(a₁) - y₁/τ"),
        (r"\left(W - W^{\top} - \gamma I\right) y", "(W - Wᵀ - γ I) y"),
        (r"e^{b_{\gamma}} a^{2}", "e^(b_γ) a²"),
        (r"\frac{A m + B s}{\theta}", "(A m + B s)/θ"),
        (r"\psi' = -i H(u) \psi", "ψ' = -i H(u) ψ"),
    ],
)
def test_plain_text_of_an_equation(line: str, expected: str) -> None:
    assert plain(line) == expected


def test_the_lines_of_an_equation_stand_behind_each_other_in_plain_text() -> None:
    assert to_plain(LEAKY) == "y₁' = -y₁ + tanh(a₁); a₁ = W y₁ + V u + b"


def test_latex_and_markdown_have_the_equation_as_mathematics() -> None:
    assert typeset.to_latex(LEAKY, escaped) == (
        r"$\begin{aligned}[t]\dot y_{1} &= - y_{1} + \tanh{\left(a_{1} \right)} \\ "
        r"a_{1} &= W y_{1} + V u + b\end{aligned}$"
    )
    assert typeset.to_markdown(LEAKY, escaped) == (
        r"$\dot y_{1} = - y_{1} + \tanh{\left(a_{1} \right)}$<br>$a_{1} = W y_{1} + V u + b$"
    )
    assert typeset.to_markdown(r"|y| < 1", escaped) == r"$\vert y\vert  \lt  1$"


@pytest.mark.parametrize(
    "hostile",
    [
        r"\input{/etc/passwd}",
        r"y = \write18{rm}",
        "a$b",
        r"\left( y",
        "} y {",
        "y = 1 % hidden",
        "#1",
        r"y \\ \def\x{1}",
        "<script>alert(1)</script>`",
    ],
)
def test_what_is_not_harmless_is_text(hostile: str) -> None:
    assert typeset.to_latex(hostile, escaped) == f"<{hostile}>"
    assert typeset.to_markdown(hostile, escaped) == f"<{hostile}>"


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet="\\{}[]()$&%#_^~<>|`*ab1 =+-\n", max_size=30))
def test_no_text_breaks_a_table_or_matplotlib(text: str) -> None:
    import pandas as pd

    table = pd.DataFrame({"equation": [text or "x"], "n": [1]})
    body = to_markdown(table, "T", "C", ("equation",)).splitlines()[4]
    assert body.replace("\\\\", "").replace("\\|", "").count("|") == 3
    assert "<" not in body.replace("\\\\", "").replace("\\<", "").replace("<br>", "")
    line = next(x for x in to_latex(table, "T", "C", ("equation",)).splitlines() if x.endswith(r" & 1 \\"))
    cell = line.removesuffix(r" & 1 \\").strip()
    known = {"begin", "end", "aligned", *typeset.KNOWN}
    if cell.startswith(r"$\begin{aligned}"):
        assert set(re.findall(r"\\([A-Za-z]+)", cell)) <= known
        assert cell.count("$") == 2
    else:
        seen = "".join(c if c.isprintable() else " " for c in text)
        assert cell == latex((seen if text.strip() else "—") if text else "x").strip()
    assert to_csv(table).count("\n") >= 2
    assert all(math.isfinite(part) for _, *sizes in fitted(text, 2.0, 8.0) for part in sizes)


def test_matplotlib_lines_fit_the_width() -> None:
    long = r"\dot x = " + " + ".join(rf"\tanh{{\left(a_{{{k}}} \right)}}" for k in range(12))
    made = fitted(long, 2.5, 8.0)
    assert len(made) > 2
    for text, _, size in made:
        box = extent(text.strip("$"), size)
        assert box is not None
        assert box[0] <= 2.5 + 0.01
    assert "".join(text.strip("$").replace(r"\quad ", "").replace("{} ", "") for text, _, _ in made).count("tanh") == 12
    unbreakable = fitted("a" + "b c" * 60, 2.0, 8.0)
    assert unbreakable[0][2] < 8.0


def test_short_definitions_share_a_line() -> None:
    texts = [text for text, _, _ in fitted(LEAKY + r" \\ c = 1 \\ d = 2", 4.0, 8.0)]
    assert texts[0] == r"$\dot y_{1} = - y_{1} + \tanh{\left(a_{1} \right)}$"
    assert texts[1:] == [r"$a_{1} = W y_{1} + V u + b, \quad c = 1, \quad d = 2$"]


def test_what_matplotlib_cannot_set_is_plain() -> None:
    assert fitted(r"\unknown y", 3.0, 8.0)[0][0] == "unknown y"
    assert harmless(r"\sqrt{y}")
    assert not harmless(r"\unknown y")
