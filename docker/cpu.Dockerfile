# ZPPO on a CPU: scale nano, evaluation with small models, reports.
#
#   docker build -f docker/cpu.Dockerfile -t zppo:cpu .
#   docker run --rm -it -v "$PWD/runs:/zppo/runs" -v "$PWD/results:/zppo/results" zppo:cpu zppo run
FROM python:3.11-slim-bookworm

# git: the code version of a run; OpenMP threads that sleep where there is nothing to do
RUN apt-get update \
    && apt-get install -y --no-install-recommends git libgomp1 \
    && rm -rf /var/lib/apt/lists/*
ENV GOMP_SPINCOUNT=100 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    TOKENIZERS_PARALLELISM=false

WORKDIR /zppo
# what is installed changes less often than the code: a layer of its own
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN pip install --extra-index-url https://download.pytorch.org/whl/cpu "torch==2.13.0"
COPY zppo_core zppo_core
COPY eval eval
COPY steps steps
COPY flows flows
COPY examples examples
RUN pip install -c constraints.txt -e . \
    && useradd --create-home zppo \
    && mkdir -p runs results data .metaflow \
    && chown -R zppo:zppo /zppo
USER zppo
CMD ["zppo", "doctor"]
