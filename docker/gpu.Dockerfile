# ZPPO on GPUs: vLLM, DeepSpeed, Ray and flash-linear-attention, as the extra `gpu` pins them.
#
#   docker build -f docker/gpu.Dockerfile -t zppo:gpu .
#   docker run --rm -it --gpus all --shm-size 64g -v "$PWD/runs:/zppo/runs" \
#       -v "$HOME/.cache/huggingface:/home/zppo/.cache/huggingface" zppo:gpu zppo run --scale 4B
FROM nvidia/cuda:13.0.1-devel-ubuntu24.04

# a compiler and Python's headers: Triton and DeepSpeed build kernels when they first need them
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        build-essential git python3 python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV VIRTUAL_ENV=/opt/zppo \
    PATH=/opt/zppo/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    TOKENIZERS_PARALLELISM=false
RUN python3 -m venv /opt/zppo

WORKDIR /zppo
COPY pyproject.toml constraints.txt README.md LICENSE ./
# the packages first, so that a change of the code does not fetch vLLM anew
RUN mkdir zppo_core eval steps flows \
    && pip install -c constraints.txt ".[gpu]" \
    && pip uninstall --yes zppo
COPY zppo_core zppo_core
COPY eval eval
COPY steps steps
COPY flows flows
COPY examples examples
RUN pip install --no-deps -e . \
    && useradd --create-home zppo \
    && mkdir -p runs results data .metaflow \
    && chown -R zppo:zppo /zppo
USER zppo
CMD ["zppo", "doctor"]
