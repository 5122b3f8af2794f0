"""The file that spark-submit starts; its arguments are those of `verger`."""

import json
import os
import sys
from datetime import UTC, datetime


def without_verger(missing: ModuleNotFoundError) -> str:
    """The line of a Python that is not Verger's, which cannot import the code that logs."""
    line = (
        f"spark-submit started {sys.executable}, which has no module {missing.name}. Let PYSPARK_PYTHON and "
        "PYSPARK_DRIVER_PYTHON name the Python in which verger is installed, or unset them."
    )
    if os.environ.get("VERGER_LOG_FORMAT") == "json":
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return json.dumps(
            {"ts": now, "level": "ERROR", "logger": "verger", "event": "failed", "exit_code": 2, "message": line}
        )
    return f"verger: {line}"


try:
    from verger.cli import main
except ModuleNotFoundError as error:
    print(without_verger(error), file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    main()
