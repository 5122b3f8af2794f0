"""spark/jvm: why a JVM ended, by its words and its exit code. Memory is blamed only where it is the cause."""

from __future__ import annotations

from pathlib import Path

import pytest

from verger.errors import DoesNotFitError, UsageError
from verger.spark import jvm

pytestmark = pytest.mark.required_in_ci

RESERVE = "Error occurred during initialization of VM\nCould not reserve enough space for 9KB object heap\n"
IVY = (
    "WARNING: Using incubator modules: jdk.incubator.vector\n"
    'Exception in thread "main" java.lang.IllegalArgumentException: basedir must be absolute: ?/.ivy2.5.2/local\n'
    "\tat org.apache.ivy.util.Checks.checkAbsolute(Checks.java:48)\n"
)


@pytest.mark.parametrize(
    ("code", "said", "kind", "line"),
    [
        (1, RESERVE, DoesNotFitError, "Spark's JVM ended: Could not reserve enough space for 9KB object heap. Give"),
        (1, "# There is insufficient memory for the Java Runtime Environment to continue.\n", DoesNotFitError, "Spark"),
        (-9, "", DoesNotFitError, "Spark's JVM ended: it was killed (SIGKILL). The kernel's out-of-memory killer"),
        (1, IVY, UsageError, 'Spark\'s JVM ended: Exception in thread "main" java.lang.IllegalArgumentException: base'),
        (
            1,
            "Unrecognized option: -Xnonsense\nError: Could not create the Java Virtual Machine.\n",
            UsageError,
            "Spark",
        ),
        (1, "", UsageError, "Spark's JVM ended with exit code 1. Its output"),
        (-15, "", UsageError, "Spark's JVM ended by signal 15. Its output"),
    ],
)
def test_the_end_of_a_jvm(tmp_path: Path, code: int, said: str, kind: type[Exception], line: str) -> None:
    (tmp_path / "log").write_text(said)
    ended = jvm.explain_end(code, tmp_path / "log", "ended")
    assert type(ended) is kind
    assert ended.line.startswith(line)
    assert ("memory" in ended.line) == (kind is DoesNotFitError)
