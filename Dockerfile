# The image is built from the lock file. It runs as a numeric non-root user and needs no writable root.
#
#   docker build -t asset-sync .
#   docker build -t asset-sync --build-arg BASE=registry.example/python:3.13-slim .
#
# With a package index behind a private CA:
#   docker build -t asset-sync --secret id=ca,src=company-ca.pem .
#
# Without a package index, from a folder `wheels`:
#   pip wheel -r requirements-run.lock -w wheels && docker build -t asset-sync .
#
# BASE is any slim glibc image with Python 3.11 to 3.14 on PATH; both stages use the same one.
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python3 -m venv /opt/asset-sync
# If the context has a folder `wheels`, packages come from it instead of from an index.
RUN --mount=type=secret,id=ca,target=/run/ca.pem --mount=type=bind,target=/context \
    if [ -s /run/ca.pem ]; then export PIP_CERT=/run/ca.pem; fi; \
    if [ -d /context/wheels ]; then export PIP_NO_INDEX=1 PIP_FIND_LINKS=/context/wheels; fi; \
    /opt/asset-sync/bin/pip install --require-hashes -r /context/requirements-run.lock
COPY pyproject.toml README.md LICENSE ./
COPY tools/readme_links.py ./tools/
COPY service ./service
# The build backend is in the lock file too, so nothing unpinned is downloaded here.
RUN /opt/asset-sync/bin/pip install --no-deps --no-build-isolation . \
    && /opt/asset-sync/bin/pip uninstall --yes hatchling pathspec pluggy trove-classifiers tomlkit pip \
    && python3 -m compileall -q /opt/asset-sync

FROM ${BASE}
ARG VERSION=0.2.0
LABEL org.opencontainers.image.title="asset-sync" \
      org.opencontainers.image.url="https://asset-sync.example" \
      org.opencontainers.image.description="Carries asset changes from DAM systems over Kafka to Akeneo PIM" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
ENV PATH=/opt/asset-sync/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/asset-sync /opt/asset-sync
USER 65532:65532
WORKDIR /tmp
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["asset-sync"]
CMD ["run"]
