"""Variables of the environment that are set to nothing count as unset."""

from __future__ import annotations

import os

PREFIXES = (
    *("AWS_", "BOTO_", "VERGER_"),
    *("HADOOP_", "PYSPARK_", "SPARK_", "JAVA_", "JDK_"),
    *("KERAS_", "ONEDNN_", "OMP_", "OPENBLAS_", "TF_"),
    *("REQUESTS_CA_BUNDLE", "SSL_CERT_"),
    *("HOME", "HOSTNAME", "TMPDIR"),
)
"""How the variables begin that this program and its libraries listen to; image/entrypoint.sh has the same list.

Variables for a proxy are not among them: an empty `https_proxy` is how one says that there is none.
"""


def unset_empty() -> None:
    """Remove the empty ones from this process's environment, and so from that of every process that it starts.

    The libraries take them for values: to boto3 an empty AWS_PROFILE is a profile without a name, and to pyspark an
    empty SPARK_HOME is a Spark in the root folder.
    """
    for name in [name for name, value in os.environ.items() if not value and name.startswith(PREFIXES)]:
        os.environ.pop(name, None)  # another thread may have done it
