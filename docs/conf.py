"""Sphinx's configuration of the documentation, which tools/site.py builds."""

project = "copier-fastapi-tortoise"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = project
html_copy_source = False
html_show_copyright = False
html_show_sourcelink = False
myst_heading_anchors = 4
nitpicky = True
