"""Data Docs that work offline: pages of Great Expectations with the templates and styles of `data_docs/`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from great_expectations.render.view import (  # noqa: TID253 - the library loads the views by name
    DefaultJinjaIndexPageView,
    DefaultJinjaPageView,
)
from jinja2 import ChoiceLoader, FileSystemLoader

_TEMPLATES = Path(__file__).parent / "data_docs"


class PageView(DefaultJinjaPageView):  # type: ignore[misc]
    """A page of an expectation suite, or of its results."""

    def __init__(self, **directories: Any) -> None:
        super().__init__(**directories)
        _use_own_templates(self)


class IndexView(DefaultJinjaIndexPageView):  # type: ignore[misc]
    """The index of all pages."""

    def __init__(self, **directories: Any) -> None:
        super().__init__(**directories)
        _use_own_templates(self)


def _use_own_templates(view: Any) -> None:
    view.env.loader = ChoiceLoader([FileSystemLoader(_TEMPLATES), view.env.loader])


def build(context: Any, directory: Path) -> None:
    """Write the pages of all suites and results of a context of Great Expectations under the directory."""
    for site in list(context.get_site_names()):
        context.delete_data_docs_site(site)
    page = {"view": {"module_name": __name__, "class_name": PageView.__name__}}
    index = {"view": {"module_name": __name__, "class_name": IndexView.__name__}}
    site = {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder", **index},
        "site_section_builders": {"expectations": page, "validations": page},
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(directory.resolve())},
    }
    context.add_data_docs_site("local", site)
    context.build_data_docs()
