#!/bin/bash
# Start what Spark on Kubernetes asks for, `driver ...` or `executor`; anything else is run as it is.
set -euo pipefail

role=${1:-}
tmp=${TMPDIR:-/tmp}

# End with a code and one line: JSON for Spark's roles, whose log is that, and in the pod's status.
fail() {
    local code=$1 line=$2
    [ ! -w /dev/termination-log ] || echo "$line" >/dev/termination-log
    case $role in
        driver | executor)
            line=${line//\\/\\\\}
            printf '{"ts": "%(%FT%TZ)T", "level": "ERROR", "logger": "verger", "event": "failed", "exit_code": %d, "message": "%s"}\n' \
                -1 "$code" "${line//\"/\\\"}" >&2
            ;;
        *) echo "verger: $line" >&2 ;;
    esac
    exit "$code"
}

# A variable that is set to nothing counts as unset: for Java and for executors, as verger.environment does in Python.
unset_empty() {
    local name
    for name in $(compgen -e); do
        case $name in
            AWS_* | BOTO_* | VERGER_* | HADOOP_* | PYSPARK_* | SPARK_* | JAVA_* | JDK_* | KERAS_* | ONEDNN_* | OMP_* | \
                OPENBLAS_* | TF_* | REQUESTS_CA_BUNDLE* | SSL_CERT_* | HOME* | HOSTNAME* | TMPDIR*)
                [ -n "${!name}" ] || unset "$name"
                ;;
        esac
    done
}

# Hadoop and Spark ask for the user's name, and Java for a home. The UID may be any and the root read-only, so that a
# line for it can be neither in /etc/passwd nor put there: glibc is given a file of ours.
name_user() {
    ! getent passwd "$(id -u)" >/dev/null || return 0
    NSS_WRAPPER_PASSWD=$(mktemp "$tmp/passwd.XXXXXX") ||
        fail 2 "$tmp cannot be written, and user $(id -u) needs a name there. Mount a volume (docker run --tmpfs $tmp)."
    { cat /etc/passwd && echo "verger:x:$(id -u):$(id -g):Verger:${HOME:-/tmp}:/usr/sbin/nologin"; } >"$NSS_WRAPPER_PASSWD"
    export NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP=/etc/group LD_PRELOAD=libnss_wrapper.so${LD_PRELOAD:+:$LD_PRELOAD}
}

# Sets java_options.
prepare_java() {
    [ -w "$tmp" ] || fail 2 "$tmp cannot be written. Mount a volume there."
    java_options=("-Dlog4j2.configurationFile=file:/opt/verger/conf/log4j2.properties")
}

# The driver's JVM writes the event log, and reads no PEM file: where there is one, what it names goes into a trust store.
# An executor's JVM reaches no store, as Python does all that.
trust_authorities() {
    [ -n "${AWS_CA_BUNDLE:-}" ] || return 0
    local said options
    said=$(python -m verger.spark.truststore "$tmp/authorities.p12" "$AWS_CA_BUNDLE" 2>&1) ||
        fail 2 "AWS_CA_BUNDLE: ${said##*$'\n'}"
    options=${said##*$'\n'}
    read -ra options <<<"${options//\"/}"
    java_options+=("${options[@]}")
}

driver() {
    [ -x "$SPARK_HOME/bin/spark-submit" ] ||
        fail 2 "SPARK_HOME is $SPARK_HOME, where there is no Spark. Leave SPARK_HOME as the image sets it."
    prepare_java
    trust_authorities
    export VERGER_LOG_FORMAT=${VERGER_LOG_FORMAT:-json}
    # For the JVM that spark-submit becomes; --driver-java-options would displace the application's own.
    export SPARK_SUBMIT_OPTS="${java_options[*]}${SPARK_SUBMIT_OPTS:+ $SPARK_SUBMIT_OPTS}"
    "$SPARK_HOME/bin/spark-submit" \
        --conf "spark.driver.bindAddress=$SPARK_DRIVER_BIND_ADDRESS" \
        --conf "spark.executorEnv.SPARK_DRIVER_POD_IP=$SPARK_DRIVER_BIND_ADDRESS" \
        --deploy-mode client "$@" &
    local jvm=$! code interrupted
    trap 'interrupted=1; interrupt $jvm' TERM
    # A signal ends the wait, not what is waited for.
    while interrupted='' && code=0 && { wait $jvm || code=$?; } && [ -n "$interrupted" ]; do :; done
    exit $code
}

# SIGTERM is for the job, which ends in order while its JVM lives; for the JVM as long as there is no job.
interrupt() {
    local child
    for child in $(cat /proc/"$1"/task/*/children 2>/dev/null | tr ' ' '\n' | sort -n); do
        # What has ended and nobody asked for has no command line: so has spark-submit's own helper.
        if [ -n "$(tr -d '\0' </proc/"$child"/cmdline)" ]; then
            kill -TERM "$child"
            return 0 # not that of the wait that was interrupted
        fi
    done 2>/dev/null
    kill -TERM "$1"
}

executor() {
    prepare_java
    local name
    # SPARK_JAVA_OPT_0, _1, ... _10: in this order, each one option, with spaces or without.
    for name in $(compgen -v SPARK_JAVA_OPT_ | sort -t _ -k 4 -n); do
        java_options+=("${!name}")
    done
    echo $$ >"$tmp/executor.pid" # which it stays; decom.sh reads it
    exec java "${java_options[@]}" "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY" \
        -cp "${SPARK_CONF_DIR:+$SPARK_CONF_DIR:}$SPARK_HOME/jars/*${SPARK_EXTRA_CLASSPATH:+:$SPARK_EXTRA_CLASSPATH}" \
        org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
        --driver-url "$SPARK_DRIVER_URL" --executor-id "$SPARK_EXECUTOR_ID" --cores "$SPARK_EXECUTOR_CORES" \
        --app-id "$SPARK_APPLICATION_ID" --hostname "$SPARK_EXECUTOR_POD_IP" \
        --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" --podName "$SPARK_EXECUTOR_POD_NAME"
}

# What Spark sets before it asks for a role.
require() {
    local name
    for name in "$@"; do
        [ -n "${!name:-}" ] || fail 2 "$role: $name is not set. This role is for Spark on Kubernetes, which sets it."
    done
}

unset_empty
export SPARK_HOME=${SPARK_HOME-/opt/verger/lib/python3/site-packages/pyspark} # as the image sets it
# The image has no other locale, and Java names files by it.
export LC_ALL=C.UTF-8
name_user
case $role in
    driver)
        shift
        require SPARK_DRIVER_BIND_ADDRESS
        driver "$@"
        ;;
    executor)
        require SPARK_DRIVER_URL SPARK_EXECUTOR_ID SPARK_EXECUTOR_CORES SPARK_EXECUTOR_MEMORY SPARK_APPLICATION_ID \
            SPARK_EXECUTOR_POD_IP SPARK_EXECUTOR_POD_NAME SPARK_RESOURCE_PROFILE_ID
        executor
        ;;
    *) exec "$@" ;;
esac
