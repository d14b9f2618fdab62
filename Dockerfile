# Two stages: the first has compilers and caches, the second only what runs.
# Wheels are checked against requirements-run.txt, hash by hash.

FROM python:3.13-slim AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/headroom
COPY requirements-run.txt ./
RUN /opt/headroom/bin/pip install --require-hashes --only-binary :all: -r requirements-run.txt
COPY pyproject.toml README.md LICENSE ./
COPY api api
COPY sql sql
COPY docs/errors docs/errors
RUN /opt/headroom/bin/pip install --no-deps --no-build-isolation .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --user-group --create-home --home-dir /var/lib/headroom headroom
COPY --from=build /opt/headroom /opt/headroom
COPY examples /opt/headroom/examples
ENV PATH=/opt/headroom/bin:$PATH PYTHONUNBUFFERED=1 HEADROOM_HOST=0.0.0.0
USER 10001:10001
WORKDIR /opt/headroom
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["headroom"]
CMD ["serve"]
