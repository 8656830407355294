"""Functions of cells that SymPy has no name for."""

from __future__ import annotations

from typing import Any

import sympy


class sigmoid(sympy.Function):  # noqa: N801 - SymPy's functions are lower case
    """The logistic function 1 / (1 + exp(-x)), one kernel in torch, where the formula would overflow."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> Any:
        return self * (1 - self)

    def _eval_is_real(self) -> bool | None:
        real: bool | None = self.args[0].is_real
        return real

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\sigma{power}\left({printer._print(self.args[0])}\right)"


class sign(sympy.Function):  # noqa: N801
    """-1, 0 or 1, constant between its jumps: its derivative is 0 everywhere, where SymPy's has an impulse at 0."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> Any:
        return sympy.S.Zero

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\operatorname{{sign}}{power}\left({printer._print(self.args[0])}\right)"

    def _lambdacode(self, printer: Any) -> str:
        return f"sign({printer._print(self.args[0])})"  # SymPy's own code for this name branches on a number
