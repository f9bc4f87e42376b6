"""Links on the tasks in Airflow's UI, once they have ended: to the pages of their run (`operations/pages.py`) and to the fleet."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf


class Page(BaseOperatorLink):  # type: ignore[misc]  # airflow's types are not followed
    """A link to a page of the task's run; an empty path is the list of all."""

    def __init__(self, title: str, path: str) -> None:
        self._title = title
        self._path = path

    @property
    def name(self) -> str:
        """The text of the button."""
        return self._title

    @property
    def xcom_key(self) -> str:
        """The XCom that keeps the address."""
        return f"link_{self._title.lower().replace(' ', '_')}"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002
        """Return the address."""
        base = str(conf.get("api", "base_url", fallback="")).rstrip("/")
        return f"{base}/bulkhead/runs/{quote(ti_key.dag_id)}/{quote(ti_key.run_id)}/{self._path}"


class Fleet(Page):
    """A link to the fleet's status page, where the fleet runs on this machine."""

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002
        """Return the address; none where the page is off."""
        port = os.environ.get("BULKHEAD_STATUS_PORT", "8085")
        return "" if port == "0" else f"http://127.0.0.1:{port}/"


_VERDICT = Page("Report", "reports/verdict.html")  # the other one may be that of an earlier bundle
_REPORT = Page("Report", "reports/evaluation.html")
_DATA_DOCS = Page("Data docs", "reports/data_docs/index.html")
_BUNDLE = Page("Bundle", "build/bundle/manifest.json")
_ALL = Page("All results", "")
_FLEET = Fleet("Fleet", "")
BY_TASK: dict[str, tuple[Page, ...]] = {
    "validate": (_DATA_DOCS, _ALL),
    "evaluate": (_VERDICT, _DATA_DOCS, _ALL),
    "bundle": (_BUNDLE, _REPORT, _ALL),
    "publish": (_BUNDLE,),
    "approve": (_REPORT, _BUNDLE),
    "deploy": (_FLEET, _BUNDLE),
    "monitor": (_FLEET, _ALL),
    "close": (_ALL,),
}
