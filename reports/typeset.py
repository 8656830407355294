"""Equations of rows, which are LaTeX, as lines for LaTeX, Markdown, matplotlib and plain text.

A row is written by anyone: what is set as mathematics is only what is made of the commands and characters listed here.
Longer than most files because one reading of LaTeX serves four formats.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

_GREEK = {
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "delta": "δ",
    "epsilon": "ε",
    "varepsilon": "ε",
    "theta": "θ",
    "lambda": "λ",
    "mu": "μ",
    "nu": "ν",
    "rho": "ρ",
    "sigma": "σ",
    "tau": "τ",
    "phi": "φ",
    "psi": "ψ",
    "omega": "ω",
    "Delta": "Δ",
    "Theta": "Θ",
    "Lambda": "Λ",
    "Omega": "Ω",
    "Phi": "Φ",
    "Psi": "Ψ",
}
_SIGNS = {
    "top": "ᵀ",
    "dagger": "†",
    "cdot": "·",
    "ast": "*",
    "odot": "⊙",
    "circ": "∘",
    "otimes": "⊗",
    "times": "×",
    "partial": "∂",
    "nabla": "∇",
    "sum": "Σ",
    "langle": "⟨",
    "rangle": "⟩",
    "lvert": "|",
    "rvert": "|",
    "vert": "|",
    "infty": "∞",
    "pm": "±",
    "le": "≤",
    "ge": "≥",
    "ldots": "…",
    "quad": "  ",
}
_FUNCTIONS = (
    *("tanh", "sinh", "cosh", "sin", "cos", "tan", "exp", "log", "max", "min", "arctan", "det", "arg"),
    *("Re", "Im"),
)
_SHAPES = ("left", "right", "frac", "sqrt", "dot", "ddot", "hat", "bar", "tilde", "operatorname", "mathrm", "text")
KNOWN = frozenset((*_GREEK, *_SIGNS, *_FUNCTIONS, *_SHAPES))
_PLAIN = re.compile(r"[A-Za-z0-9 +\-=(){}\\_^,.;:/'\[\]|<>*]*")
_RAISED = dict(zip("0123456789+-T", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ᵀ", strict=True))
_LOWERED = dict(zip("0123456789", "₀₁₂₃₄₅₆₇₈₉", strict=True))


def lines(latex: str) -> list[str]:
    """The lines of an aligned equation, without the environment, the alignment signs and the fine spacing."""
    inner = re.sub(r"\\(?:begin|end)\{(?:aligned|align\*?|gathered|split)\}(?:\[[a-z]\])?", " ", latex)
    split = re.split(r"\\\\(?:\[[^\]]*\])?", inner.replace("&", " "))
    found = [re.sub(r"\s+", " ", re.sub(r"\\[,;:! ]", " ", line)).strip() for line in split]
    return [_named(line) for line in found if line]


def _named(line: str) -> str:
    """Indices and names of several letters set upright, as one word."""
    line = re.sub(r"_(?:\{([A-Za-z]{2,})\}|([A-Za-z]{2,}))", lambda m: rf"_{{\mathrm{{{m[1] or m[2]}}}}}", line)
    return re.sub(r"(?<![\\A-Za-z{])[A-Za-z]{3,}(?![A-Za-z])", lambda m: rf"\mathrm{{{m[0]}}}", line)


def harmless(line: str) -> bool:
    """Whether a line is made of known commands and characters alone, with its braces and brackets in balance."""
    words = re.findall(r"\\([A-Za-z]+|.?)", line)
    depth = 0
    for sign in line:
        depth += (sign == "{") - (sign == "}")
        if depth < 0:
            return False
    paired = len(re.findall(r"\\left(?![A-Za-z])", line)) == len(re.findall(r"\\right(?![A-Za-z])", line))
    return depth == 0 and paired and _PLAIN.fullmatch(line) is not None and set(words) <= KNOWN


def to_latex(latex: str, text: Callable[[str], str]) -> str:
    """An aligned block within a table's cell (needs amsmath); what is not harmless as `text` would write it."""
    parts = lines(latex)
    if not parts or not all(harmless(part) for part in parts):
        return text(latex)
    rows = r" \\ ".join(re.sub(r"(?<![<>])=", "&=", part, count=1) for part in parts)
    return rf"$\begin{{aligned}}[t]{rows}\end{{aligned}}$"


def to_markdown(latex: str, text: Callable[[str], str]) -> str:
    """Each line between dollar signs; what is not harmless as `text` would write it."""
    parts = lines(latex)
    if not parts or not all(harmless(part) for part in parts):
        return text(latex)
    signs = str.maketrans(
        {"|": r"\vert ", "<": r"\lt ", ">": r"\gt ", "*": r"\ast "}
    )  # which would end a cell, or begin a tag
    return "<br>".join(f"${part.translate(signs)}$" for part in parts)


def to_plain(latex: str) -> str:
    """One line of ordinary characters: y₁' = -y₁ + tanh(a₁); a₁ = W y₁ + V u + b."""
    return "; ".join(plain(part) for part in lines(latex))


def plain(line: str) -> str:
    """One line of an equation in ordinary characters; unknown commands keep their names."""
    text = re.sub(r"\\dot\s*(?:\{([^{}]*)\}|(\\?[A-Za-z]+))((?:_(?:\{[^{}]*\}|\w))?)", r"\1\2\3'", line)
    text = re.sub(r"\\(?:left|right)(?![A-Za-z])\.?", "", text)
    for _ in range(8):
        before = text
        text = re.sub(r"\\(?:operatorname|mathrm|text|hat|bar|tilde)\s*\{([^{}]*)\}", r"\1", text)
        text = re.sub(r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", _fraction, text)
        text = re.sub(r"\\sqrt\s*\{([^{}]*)\}", r"√(\1)", text)
        text = re.sub(r"([_^])\{([^{}]*)\}", _moved, text)
        text = re.sub(r"([_^])([0-9A-Za-z])(?![0-9A-Za-z(])", _moved, text)
        text = re.sub(r"(\\(?!frac|sqrt)[A-Za-z]+)\s*\{([^{}]*)\}", r"\1\2", text)
        if text == before:
            break
    text = re.sub(r"\\([A-Za-z]+)", lambda m: _GREEK.get(m[1], _SIGNS.get(m[1], m[1])), text)
    text = text.replace("^ᵀ", "ᵀ").replace("^†", "†").replace("{", "").replace("}", "")
    text = re.sub(r"(^|[=(]) ?- ", r"\1 -", text)
    return re.sub(r"\s+([),])", r"\1", re.sub(r"([(])\s+", r"\1", re.sub(r"\s+", " ", text))).strip()


def _fraction(found: re.Match[str]) -> str:
    above, below = (part if re.fullmatch(r"[\w.'\\]*", part.strip()) else f"({part})" for part in found.groups())
    return f"{above}/{below}"


def _moved(found: re.Match[str]) -> str:
    """An index or exponent: digits as small digits, a word behind a low line, all else in brackets."""
    sign, inner = found[1], found[2].strip()
    small = _RAISED if sign == "^" else _LOWERED
    if inner == r"\top":
        return "ᵀ"
    if inner and all(c in small for c in inner):
        return "".join(small[c] for c in inner)
    return f"{sign}{inner}" if re.fullmatch(r"\\?[A-Za-z0-9]+", inner) else f"{sign}({inner})"


# -------------------------------------------------------------------------------------------------------- matplotlib


@lru_cache(maxsize=4096)
def extent(line: str, size: float) -> tuple[float, float, float] | None:
    """Width, height above and depth below the base line, in inches, of a line set by matplotlib; None if it cannot.

    line: LaTeX; size: points.
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import MathTextParser

    try:
        made = MathTextParser("path").parse(f"${line}$", 72, FontProperties(size=size))
    except ValueError:
        return None
    return made.width / 72, (made.height - made.depth) / 72, made.depth / 72


def fitted(latex: str, width: float, size: float) -> list[tuple[str, float, float]]:
    """Lines for matplotlib, dollar signs included: text, the inches of height it takes, and its size in points.

    None is wider than `width` inches: a line that is too wide is broken before a plus or minus outside all brackets,
    then made smaller; short ones stand beside each other. What matplotlib cannot set is plain text.
    """
    pieces: list[tuple[str, bool]] = []
    for line in lines(latex):
        pieces += [(piece, place > 0) for place, piece in enumerate(_broken(line, width, size))]
    packed: list[str] = []
    for piece, continues in pieces:
        joined = f"{packed[-1]}, \\quad {piece}" if packed else piece
        own = continues or piece.startswith(r"\dot") or not packed
        if own or packed[-1].startswith((r"\dot", r"\quad")) or not _fits(joined, width, size):
            packed.append(rf"\quad {piece}" if continues else piece)
        else:
            packed[-1] = joined
    return [_set(line, width, size) for line in packed]


def _set(line: str, width: float, size: float) -> tuple[str, float, float]:
    from .style import plain as guarded

    math = line.replace(r"^{\top}", r"^{\mathsf{T}}")  # matplotlib sets much room around its own sign
    box = extent(math, size) if harmless(line) else None
    if box is None:
        text = plain(line)
        small = min(size, width * 72 / (0.56 * max(len(text), 1)))
        return guarded(text), size / 72 * 1.25, small
    scale = min(1.0, width / box[0]) if box[0] > 0 else 1.0
    return f"${math}$", max(box[1] + box[2], 0.8 * size / 72) + 0.5 * size / 72, size * scale


def _fits(line: str, width: float, size: float) -> bool:
    """By the number of characters as a reader sees them: to set a line only to measure it takes too long."""
    seen = re.sub(r"[_^()]", "", plain(line))
    return len(seen) * 0.56 * size / 72 <= width


def _broken(line: str, width: float, size: float) -> list[str]:
    if _fits(line, width, size):
        return [line]
    depth, places = 0, []
    for found in re.finditer(r"\\left|\\right|[{}()]| [+-] ", line):
        sign = found[0]
        depth += (sign in ("{", "(", r"\left")) - (sign in ("}", ")", r"\right"))
        before = line[: found.start()].strip()
        if depth == 0 and sign in (" + ", " - ") and before not in ("", "{}") and not before.endswith("="):
            places.append(found.start())
    fitting = [p for p in places if _fits(line[:p], width, size)]
    if not places:
        return [line]
    place = fitting[-1] if fitting else places[0]
    return [line[:place], *_broken(rf"{{}}{line[place:]}", width - 0.2, size)]
