"""On the module path of all processes where coverage is measured."""

import tests.integration.measured_workers  # noqa: F401
