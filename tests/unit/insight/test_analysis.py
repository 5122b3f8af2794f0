"""What a run finds out about its photographs."""

from __future__ import annotations

from io import StringIO
from typing import Any

from tests.insight import config
from verger.insight.analysis import Analysis
from verger.progress import Progress
from verger.storage.local import LocalStorage
from verger.storage.stores import Stores
from verger.tables.runs import Run


class TestWeak:
    def test_the_pca_is_foreign_only_where_another_run_fitted_it(self) -> None:
        def study(**more: Any) -> Analysis:
            return Analysis(
                Run("/out", "mine", LocalStorage()),
                config(standardize=True),
                Stores(),
                Progress(StringIO()),
                print,
                **more,
            )

        assert [study(fitted_by=run).fitted_by for run in (None, "mine", "old")] == [None, None, "old"]
        assert [study(standardize=fit).standardize for fit in (None, True, False)] == [True, True, False]
