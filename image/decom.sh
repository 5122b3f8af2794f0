#!/bin/bash
# What Kubernetes runs before it ends an executor's pod (spark.decommission.enabled): tell the executor to take no more
# tasks and end those under way, and wait until it is gone. Kubernetes itself sets the limit, the pod's grace period.
set -euo pipefail

pid=$(cat "${TMPDIR:-/tmp}/executor.pid") || exit 0 # not yet, or no executor
kill -s PWR "$pid" 2>/dev/null || exit 0            # gone already
while kill -0 "$pid" 2>/dev/null; do sleep 0.2; done
