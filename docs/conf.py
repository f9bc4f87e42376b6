"""Sphinx: the pages of this folder as a site. `make docs` builds it, without a network; a warning is an error."""

project = "Bulkhead"
author = "Bulkhead developers"
project_copyright = author
extensions = ["myst_parser"]
exclude_patterns = ["generate"]

html_theme = "furo"
html_title = "Bulkhead"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1d4ed8", "color-brand-content": "#1d4ed8"},
    "dark_css_variables": {"color-brand-primary": "#93c5fd", "color-brand-content": "#93c5fd"},
}
html_show_sourcelink = False
html_show_search_summary = False  # summaries are fetched, which browsers refuse a page from the file system
html_permalinks_icon = "#"

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4  # links to `page.md#heading` work as on GitHub
suppress_warnings: list[str] = []
