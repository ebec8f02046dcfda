# Two images from one file. `docker build .` makes the one that serves; `docker build --target train .` the one that
# trains. Nothing is fetched when they run.

ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/brink
WORKDIR /src
# The dependencies first: they change more rarely than the code, and the layer is kept while they do not.
COPY constraints.txt pyproject.toml README.md LICENSE ./
RUN mkdir model training service \
    && touch model/__init__.py training/__init__.py service/__init__.py \
    && /opt/brink/bin/pip install -c constraints.txt .
COPY model model
COPY training training
COPY service service
RUN /opt/brink/bin/pip install --no-deps --force-reinstall . \
    && /opt/brink/bin/python -m compileall -q /opt/brink/lib

FROM build AS build-train
RUN /opt/brink/bin/pip install -c constraints.txt '.[train]'

FROM ${BASE} AS run
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin brink
# Bytecode was compiled in the build; the root file system may be read-only.
ENV PATH=/opt/brink/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

FROM run AS train
COPY --from=build-train /opt/brink /opt/brink
COPY data /data
# Where models are written: mount a folder here that user 10001 may write.
RUN install -d -o brink /models
USER brink
WORKDIR /
# Caches of the training libraries; nothing of them outlives the container.
ENV HOME=/tmp HF_HUB_OFFLINE=1
ENTRYPOINT ["python", "-m", "training"]

FROM run AS serve
COPY --from=build /opt/brink /opt/brink
# Where labelled statements and promoted versions are kept: mount a folder here that user 10001 may write, or name other
# places.
RUN install -d -o brink /data
USER brink
WORKDIR /
ENV BRINK_HOST=0.0.0.0 BRINK_PORT=8000 BRINK_DATABASE_URL=sqlite:////data/brink.db \
    BRINK_MODELS=/data/versions BRINK_MODELS_CACHE=/data/cache
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"BRINK_PORT\"]}/readyz', timeout=2)"]
ENTRYPOINT ["python", "-m", "service"]
