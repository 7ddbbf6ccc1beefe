"""Sphinx builds the documentation: `sphinx-build -W docs build/docs`."""

import shelfwise

project = "Shelfwise"
author = "the Shelfwise authors"
release = shelfwise.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click", "sphinx_copybutton"]
html_theme = "furo"
html_title = f"Shelfwise {release}"
html_favicon = "../shelfwise/service/static/icon.svg"
myst_heading_anchors = 4
smartquotes = False  # options keep their two hyphens
default_role = "code"  # docstrings write `name` for code
suppress_warnings = ["misc.highlighting_failure"]  # of console blocks whose body has several lines
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_custom_sections = [("Options", "params_style")]
add_module_names = False
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
