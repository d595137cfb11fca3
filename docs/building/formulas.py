"""Formulas as MathML, which browsers draw by themselves: the pages need no script and no font for them."""

from typing import Any

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.errors import SphinxError

_CONVERTER = LatexToMathML()


def mathml(latex: str, alone: bool) -> str:
    """A formula in LaTeX as a <math> element. SphinxError if it cannot be read."""
    try:
        return _CONVERTER.convert_with_local_state(latex, displaystyle=alone)
    except LatexError as error:
        raise SphinxError(f"the formula {latex!r} cannot be read: {error}") from None


def _inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(mathml(node.astext(), alone=False))
    raise nodes.SkipNode


def _alone(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="formula">{mathml(node.astext(), alone=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer "mathml"."""
    app.add_html_math_renderer("mathml", (_inline, None), (_alone, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
