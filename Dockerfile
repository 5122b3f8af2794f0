# One image for the driver, the executors and a single machine. docs/image.md says what is in it, how large it is, and how
# to run it. Layers that change least come first: a change of job/ only rebuilds the last two layers, a few MB.
ARG BASE=debian:trixie-slim

# Java, linked from the modules that are needed: 21 on Debian 13, 17 on 12. It is a quarter of the size of the package
# openjdk-21-jre-headless.
FROM ${BASE} AS java
# Packages link manual pages into this folder, which slim images lack.
RUN mkdir -p /usr/share/man/man1 && apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates default-jdk-headless maven
# It has all of Java SE, and of the JDK's own modules those that Spark, Hadoop, TLS and debugging need. The certificate
# authorities are Debian's. The class data archive (-Xshare:dump) makes every JVM start sooner. Zstandard's library is
# unpacked in the image, because a library that is unpacked into /tmp cannot be loaded where /tmp is mounted noexec. The
# JDK's own file `release` says whose build of which version this is, by which scanners know it.
RUN jlink --add-modules java.se,jdk.charsets,jdk.crypto.ec,jdk.incubator.vector,jdk.jcmd,jdk.management,jdk.management.agent,jdk.naming.dns,jdk.net,jdk.security.auth,jdk.security.jgss,jdk.unsupported,jdk.zipfs \
        --no-header-files --no-man-pages --compress=2 --release-info=/usr/lib/jvm/default-java/release \
        --add-options=-DZstdNativePath=/opt/verger/lib/libzstd-jni.so --output /opt/java \
    && cp --dereference /etc/ssl/certs/java/cacerts /opt/java/lib/security/cacerts \
    && /opt/java/bin/java -Xshare:dump >/dev/null

# The jars of S3A, as `make jars` fetches them.
FROM java AS jars
COPY image/pom.xml image/jars.sha256 /build/
WORKDIR /jars
RUN mvn --quiet --batch-mode --strict-checksums --file /build/pom.xml \
        dependency:copy-dependencies -DoutputDirectory=/jars \
    && sha256sum --check --strict --quiet /build/jars.sha256

# The packages of the lock, as `make install` installs them.
FROM ${BASE} AS locked
RUN apt-get update && apt-get install -y --no-install-recommends binutils ca-certificates python3 python3-venv
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements/build.lock requirements/run.lock /build/
# lib/python3 is a second name of lib/python3.13, or whatever Debian's Python is, so that paths name no version.
RUN python3 -m venv /opt/verger && ln -s "$(basename /opt/verger/lib/python3.*)" /opt/verger/lib/python3 \
    && /opt/verger/bin/pip install --quiet --no-cache-dir --no-compile --require-hashes -r /build/build.lock \
    && /opt/verger/bin/pip install --quiet --no-cache-dir --no-compile --require-hashes --no-build-isolation -r /build/run.lock

# The jars where Spark looks for them, in a folder of its own: not every builder copies through a link.
FROM locked AS spark-jars
COPY --from=jars /jars/ /jars/
RUN cd /opt/verger && folder=$(echo lib/python3.*/site-packages/pyspark/jars) \
    && mkdir -p "/spark/$folder" && cp /jars/*.jar "/spark/$folder"

# The same without the files that image/omitted.txt lists, and without the libraries' symbols for debuggers. (strip
# breaks the libraries in *.libs, which auditwheel has changed.) Python is compiled here: at run time it could not write
# the compiled files, and would compile again at every start.
FROM locked AS trimmed
COPY image/omit.py image/omitted.txt /build/
RUN python3 /build/omit.py /build/omitted.txt /opt/verger \
    && python3 -m zipfile -e /opt/verger/lib/python3/site-packages/pyspark/jars/zstd-jni-*.jar /build/zstd \
    && cp "/build/zstd/linux/$(uname -m | sed s/x86_64/amd64/)"/libzstd-jni-*.so /opt/verger/lib/libzstd-jni.so \
    && find /opt/verger -name '*.so*' -type f -not -path '*.libs/*' -exec strip --strip-unneeded {} + \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/verger/lib

# Verger itself, in a layer of its own.
FROM locked AS package
WORKDIR /source
COPY LICENSE NOTICE README.md pyproject.toml ./
COPY requirements/*.in requirements/
COPY job/verger job/verger
RUN /opt/verger/bin/pip install --quiet --no-cache-dir --no-compile --no-deps --no-build-isolation --prefix /package . \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /package/lib

# Weights other than the bundled ones: WEIGHTS=weights/FILE, or WEIGHTS=imagenet with WEIGHTS_SHA256.
FROM locked AS weights
COPY --from=package /package/ /opt/verger/
# A pattern, because most builds have no folder `weights`, and COPY of a missing folder fails.
COPY image/weights.py weight[s] /given/
ARG WEIGHTS=
ARG WEIGHTS_SHA256=
ARG BACKBONE=mobilenet_v2
RUN mkdir /weights && { [ -z "$WEIGHTS" ] || /opt/verger/bin/python /given/weights.py /given /weights; }

FROM ${BASE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libnss-wrapper python3 tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/log/* \
    # Remove the setuid and setgid bits: no program in the image may change its user.
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && echo 'verger:x:185:0:Verger:/tmp:/usr/sbin/nologin' >> /etc/passwd \
    && mkdir -p /opt/spark/work-dir && chown 185:0 /opt/spark/work-dir && chmod 775 /opt/spark/work-dir
COPY --from=java /opt/java/ /opt/java/
COPY --from=trimmed /opt/verger/ /opt/verger/
COPY --from=spark-jars /spark/ /opt/verger/
COPY --from=weights /weights/ /opt/verger/weights/
COPY image/log4j2.properties /opt/verger/conf/
COPY image/entrypoint.sh image/decom.sh /opt/
ENV PATH=/opt/verger/bin:/opt/java/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    JAVA_HOME=/opt/java \
    SPARK_HOME=/opt/verger/lib/python3/site-packages/pyspark \
    PYSPARK_PYTHON=/opt/verger/bin/python \
    HOME=/tmp \
    LANG=C.UTF-8
USER 185:0
WORKDIR /opt/spark/work-dir
ENTRYPOINT ["/usr/bin/tini", "-s", "--", "/opt/entrypoint.sh"]
CMD ["verger", "--help"]
COPY --from=package /package/ /opt/verger/
COPY job/main.py /opt/verger/main.py
ARG BASE
ARG BASE_DIGEST=
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="verger" \
    org.opencontainers.image.description="Fruit photographs to CNN features to principal components, on Spark" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.base.name="${BASE}" \
    org.opencontainers.image.base.digest="${BASE_DIGEST}"
