"""Plain text with mathematical signs, as docstrings have them, for LaTeX without special packages."""

import re

GREEK = {"Σ": "Sigma", "Π": "Pi", "Φ": "Phi", "φ": "varphi", "σ": "sigma", "π": "pi", "λ": "lambda"}
GREEK |= {"δ": "delta", "ε": "varepsilon", "β": "beta", "γ": "gamma", "μ": "mu"}
SIGNS = {
    "−": "-",
    "·": r"\cdot ",
    "∘": r"\circ ",
    "√": r"\surd ",
    "⌊": r"\lfloor ",
    "⌋": r"\rfloor ",
    "⌈": r"\lceil ",
    "⌉": r"\rceil ",
    "×": r"\times ",
    "‖": r"\Vert ",
    "≤": r"\le ",
    "≥": r"\ge ",
    "∂": r"\partial ",
    "±": r"\pm ",
    "∞": r"\infty ",
    "∫": r"\int ",
    "⋆": r"\star ",
    "←": r"\leftarrow ",
    "→": r"\to ",
    "′": "'",
    "½": r"\frac{1}{2}",
    "¼": r"\frac{1}{4}",
    "<": "<",
    ">": ">",
    "|": "|",
    **{letter: rf"\{name} " for letter, name in GREEK.items()},
}
ABOVE = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁽⁾ᵀ", "0123456789-()T", strict=True))
BELOW = dict(zip("₀₁₂₃₄₅₆₇₈₉₋‚ᵢⱼ", "0123456789-,ij", strict=True))
SPECIAL = {
    "\\": r"\textbackslash{}",
    "^": r"\^{}",
    "~": r"\~{}",
    "…": r"\dots{}",
    **{sign: f"\\{sign}" for sign in "_&%#{}$"},
}
HAT = "\u0302"
RUNS = re.compile(
    rf"(?P<hat>\w{HAT})|(?P<above>[{''.join(ABOVE)}]+)|(?P<below>[{''.join(BELOW)}]+)|(?P<sign>.)", re.DOTALL
)


def tex(text: str) -> str:
    """The text for LaTeX, outside of formulas; what is mathematics becomes one."""

    def written(run: re.Match[str]) -> str:
        if run["hat"]:
            return rf"$\hat{{{run['hat'][0]}}}$"
        if run["above"]:
            return f"$^{{{''.join(ABOVE[sign] for sign in run['above'])}}}$"
        if run["below"]:
            return f"$_{{{''.join(BELOW[sign] for sign in run['below'])}}}$"
        sign = run["sign"]
        return f"${SIGNS[sign]}$" if sign in SIGNS else SPECIAL.get(sign, sign)

    return RUNS.sub(written, text.replace("ŷ", f"y{HAT}"))
