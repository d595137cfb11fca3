"""How Sphinx makes the site; `scripts/site` calls it."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

from building.pages import EXTRA  # noqa: E402

from blockprop.version import __version__  # noqa: E402

project = "blockprop"
author = copyright = "The blockprop authors"
version = release = __version__

extensions = ["myst_parser", "building.formulas"]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4

exclude_patterns = ["extra"]

html_theme = "furo"
html_title = "blockprop"
html_static_path = [str(DOCS / "building" / "static")]
html_extra_path = [str(EXTRA)]
html_css_files = ["site.css"]
html_copy_source = False
html_show_search_summary = False  # which a browser cannot fetch from a file
html_show_sphinx = False
html_math_renderer = "mathml"
pygments_style = "friendly"
pygments_dark_style = "native"
