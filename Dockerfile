# The image of agent and cloud: `docker build -t edgemesh .`, or scripts/image, which needs neither a
# registry nor a daemon. What comes from PyPI is pinned by its hash (image/*.txt, renewed by
# `scripts/image --lock`), what comes from Debian by BASE, which may be named by its digest, and by
# the package sources within it.
ARG BASE=docker.io/library/debian:12-slim

FROM ${BASE} AS build
# A file with certificates of those whom pip is to trust, where an index is behind a proxy.
ARG PIP_CERT
# No debugging information, which names the directory of the build; the same order of sets each time.
ENV CFLAGS=-g0 PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 DEBIAN_FRONTEND=noninteractive \
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN apt-get update -q \
 && apt-get install -q -y --no-install-recommends gcc libc6-dev python3-dev python3-venv
COPY image /src/image
RUN --mount=type=secret,id=pip-global,target=/etc/pip.conf \
    --mount=type=secret,id=pip-user,target=/root/.config/pip/pip.conf \
    --mount=type=secret,id=trusted,target=/run/trusted.crt \
    python3 -m venv /build \
 && python3 -m venv --without-pip /opt/edgemesh \
 && /build/bin/pip install -q --require-hashes -r /src/image/build-requirements.txt \
 && /build/bin/pip --python /opt/edgemesh/bin/python install -q --no-compile --no-deps \
      --only-binary :all: --require-hashes -r /src/image/requirements.txt \
 # The compiler believes the types of what edgemesh imports, so it has to see them.
 && echo /opt/edgemesh/lib/python3*/site-packages > "$(echo /build/lib/python3*/site-packages)/types.pth"
COPY . /src
# The date of files in wheels.
ARG SOURCE_DATE_EPOCH=1735689600
# The build has its tools already (pip takes "no" as the value of a switch that says no).
RUN PATH=/build/bin:$PATH PIP_NO_BUILD_ISOLATION=no /src/scripts/compile /wheels
RUN /build/bin/pip --python /opt/edgemesh/bin/python install -q --no-compile --no-deps /wheels/*.whl \
 && site=$(/opt/edgemesh/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
 # bcc and nftables are packages of Debian only, and nothing else lies there (scripts/setup).
 && echo /usr/lib/python3/dist-packages > "$site/edgemesh-distro.pth" \
 && find "$site" -name '*__mypyc.*.so' -exec strip --strip-unneeded {} + \
 && /opt/edgemesh/bin/python -m compileall -q -f --invalidation-mode unchecked-hash "$site"

FROM ${BASE}
ENV DEBIAN_FRONTEND=noninteractive
COPY scripts/agent-packages /tmp/
RUN apt-get update -q \
 && xargs apt-get install -q -y --no-install-recommends < /tmp/agent-packages \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/debconf/*-old /var/cache/ldconfig /tmp/*
COPY --from=build /opt/edgemesh /opt/edgemesh
ENV PATH=/opt/edgemesh/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 DEBIAN_FRONTEND=
ENTRYPOINT ["/opt/edgemesh/bin/edgemesh"]
CMD ["run"]
