# The operator (target `operator`) and the MLflow tracking server that it runs (target `mlflow`).
# `python -m dev.images build` builds both; `docker build --target operator .` works too.

# The published base by its digest, an index of all processors. buildah gets another one, which is made on the machine itself.
ARG BASE=docker.io/library/debian:bookworm-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251


FROM ${BASE} AS python
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/*


FROM python AS builder
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY dev/images/builder/ ./
ENV PATH=/opt/venv/bin:/opt/builder/bin:${PATH} \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never \
    VIRTUAL_ENV=/opt/venv
RUN --mount=type=secret,id=certificates --mount=type=secret,id=index \
    python3 -m venv /opt/builder \
 && ./with-machine-settings pip install --require-hashes --no-deps --no-cache-dir --requirement requirements.txt \
 && uv venv --python /usr/bin/python3 /opt/venv


# Runs as a user that every Kubernetes policy accepts, and writes only below $HOME and $TMPDIR.
FROM python AS runtime
RUN groupadd --gid 10001 tracking \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin tracking \
 && rm -rf /var/log/*
ENV HOME=/tmp \
    PATH=/opt/venv/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /tmp
USER 10001:10001


FROM builder AS operator-requirements
COPY pyproject.toml uv.lock ./
RUN uv export --quiet --frozen --no-dev --no-emit-project --output-file requirements.txt

# Copied from its own stage, so that only another dependency installs them anew, not another line in pyproject.toml.
FROM builder AS operator-dependencies
COPY --from=operator-requirements /build/requirements.txt ./
RUN --mount=type=secret,id=certificates --mount=type=secret,id=index \
    ./with-machine-settings uv pip install --quiet --require-hashes --no-deps --requirement requirements.txt \
 && ./drop-unused /opt/venv

FROM operator-dependencies AS operator-package
COPY pyproject.toml README.md ./
COPY operator/ operator/
RUN /opt/builder/bin/python -m hatchling build --target wheel --directory dist \
 && uv pip install --quiet --no-deps --offline --prefix /opt/package dist/*.whl

FROM runtime AS operator
ENTRYPOINT ["tracking-operator"]
CMD ["run"]
COPY --from=operator-dependencies /opt/venv/ /opt/venv/
COPY --from=operator-package /opt/package/ /opt/venv/
ARG VERSION=
ARG REVISION=
ARG SOURCE=
LABEL org.opencontainers.image.title="tracking-operator" \
      org.opencontainers.image.description="A Kubernetes operator that gives every team its own isolated MLflow tracking server" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"


# MLFLOW_EXTRAS: artifact stores beside S3, any of "azure gcs".
FROM builder AS mlflow-requirements
ARG MLFLOW_VERSION=3.18.0
ARG MLFLOW_EXTRAS=
COPY dev/images/mlflow/${MLFLOW_VERSION}/ ./
RUN uv export --quiet --frozen --no-dev --no-emit-project --output-file requirements.txt \
      $(for extra in ${MLFLOW_EXTRAS}; do echo "--extra ${extra}"; done)

FROM builder AS mlflow-dependencies
COPY --from=mlflow-requirements /build/requirements.txt ./
RUN --mount=type=secret,id=certificates --mount=type=secret,id=index \
    ./with-machine-settings uv pip install --quiet --require-hashes --no-deps --requirement requirements.txt \
 && ./drop-unused /opt/venv

# A new SQLite store is a copy of this empty one: migrating through every revision takes seconds, and cannot be resumed.
FROM mlflow-dependencies AS mlflow-schema
ENV MLFLOW_DISABLE_TELEMETRY=true
RUN mlflow db upgrade sqlite:////opt/schema/empty.db \
 && python ./schema_head.py /opt/schema/empty.db > /opt/schema/schema-head

FROM runtime AS mlflow
# Job execution would let a caller run code in the server (CVE-2026-0545).
ENV DO_NOT_TRACK=true \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
EXPOSE 5000
CMD ["mlflow", "server", "--host", "0.0.0.0"]
COPY --from=mlflow-dependencies /opt/venv/ /opt/venv/
COPY --from=mlflow-schema /opt/schema/ /usr/local/share/tracking-operator/
ARG VERSION=
ARG REVISION=
ARG SOURCE=
LABEL org.opencontainers.image.title="MLflow tracking server" \
      org.opencontainers.image.description="MLflow with PostgreSQL and S3 clients, basic-auth, and its empty SQLite store" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
