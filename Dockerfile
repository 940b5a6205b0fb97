# syntax=docker/dockerfile:1
#
#   docker build -t medimageinsight-onnx .
#   docker run --rm -p 127.0.0.1:8000:8000 medimageinsight-onnx
#
# Optional parts are chosen by --build-arg EXTRAS=...; stores (`--store`) need serve,search.
# For repeatable builds, name the base image by its digest: --build-arg PYTHON=python:3.12-slim@sha256:...
ARG PYTHON=python:3.12-slim

FROM ${PYTHON} AS build
ARG EXTRAS=serve,grpc,login,otel,zstd
WORKDIR /build
COPY constraints.txt .
# The build backend in its pinned version: pip would otherwise build with the newest one in an isolated environment.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --disable-pip-version-check --root-user-action ignore --constraint constraints.txt hatchling
COPY LICENSE README.md pyproject.toml ./
COPY src src
RUN pip wheel --disable-pip-version-check --no-build-isolation --no-deps --wheel-dir dist .
# Without pip, which is not needed later. Constraints only pin versions, so PyTorch is not installed.
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /opt/mi2 \
    && pip --disable-pip-version-check --python /opt/mi2/bin/python install --only-binary :all: \
        --constraint constraints.txt "$(ls dist/*.whl)[${EXTRAS}]"

FROM ${PYTHON}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="medimageinsight-onnx" \
      org.opencontainers.image.description="Medical images and medical text as vectors of one space, served over HTTP. \
For research and development, not for diagnosis or treatment." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# A numeric user id, which Kubernetes' runAsNonRoot requires and files on volumes have.
# The base image's pip is removed: nothing is installed later.
RUN groupadd --gid 10001 mi2 \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin mi2 \
    && install --directory --owner 10001 --group 10001 /models \
    && pip uninstall --yes --root-user-action ignore pip
# At the same path, which its scripts contain. Owned by root, so that the server cannot change itself.
COPY --from=build /opt/mi2 /opt/mi2

# The container's loopback cannot be reached from outside, so the server listens on all its addresses; `docker run -p`
# limits who can reach them. Bytecode was compiled at installation, and the root may be read-only.
ENV PATH=/opt/mi2/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    MI2_HOME=/models \
    MI2_HOST=0.0.0.0 \
    MI2_PORT=8000
VOLUME /models
EXPOSE 8000
USER 10001:10001

# Ignores http_proxy. After 60 s the server itself reports that it is not ready. With TLS, this needs another command.
HEALTHCHECK --interval=30s --timeout=65s --start-period=300s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; \
u.build_opener(u.ProxyHandler({})).open(f'http://127.0.0.1:{os.environ[\"MI2_PORT\"]}/health/ready', timeout=62)"]

# Without a shell, the server receives the signal itself: it refuses new requests, answers those in progress, and exits.
STOPSIGNAL SIGTERM
ENTRYPOINT ["mi2"]
CMD ["serve"]
