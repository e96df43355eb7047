# `make run` and `make test` are all a newcomer needs; both set up .venv by themselves.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
VLLM_ENV ?= .venv-vllm
GPU_PYTHON ?= 3.12
PYTHONS ?= python3.12 python3.13
SUPPLY ?= .venv-supply
export TOKENIZERS_PARALLELISM := false
# idle OpenMP threads sleep instead of spinning: two processes on two cores then share them
export GOMP_SPINCOUNT := 100

.PHONY: setup run test mutants lint types test-vllm bench bench-gpu gpu-check gpu-wheels two-hosts \
	eval-fixtures evidence zone-sweep docs commands kill-matrix soak supply lock audit licences sbom two-clones \
	readme-figures pythons clean help

help:  ## show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 22

setup: $(STAMP)  ## create .venv and install; quick when nothing changed

# lmms-eval's scorers are compared with ours; it requires an older PyAV and a second stack of models
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps lmms-eval==0.7.3
	@touch $(STAMP)

run: setup  ## the whole of ZPPO at scale nano on a CPU, then its table
	$(BIN)/python flows/zppo_flow.py run
	@$(BIN)/python -m eval.tables summary

test: setup lint types  ## lint, types and tests; the seconds of each test in results/tests.xml
	$(BIN)/python -m pytest -n auto --junitxml results/tests.xml

docs: setup  ## the pages as a site, in results/site
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	PYTHONPATH=. $(BIN)/python tools/pages.py
	$(BIN)/python -m mkdocs build --strict --quiet
	@echo results/site/index.html

commands: setup  ## every printed command of CPU size in a fresh clone: benchmarks/results/commands.txt (long)
	$(BIN)/python tools/commands.py

mutants: setup  ## wrong changes to the method, one at a time: which no test minds (half an hour; goes on)
	$(BIN)/python tools/mutants.py --report docs/mutants.md

pythons:  ## set-up and tests under other Pythons: benchmarks/results/pythons.txt (a quarter of an hour each)
	$(PYTHON) tools/pythons.py $(PYTHONS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

test-vllm:  ## the vLLM engine against vLLM's CPU build, in an environment of its own (3.5 GB)
	PYTHON=$(PYTHON) tools/vllm_env.sh $(VLLM_ENV)
	rm -f results/vllm.txt && mkdir -p results
	ZPPO_TEST_VLLM=1 ZPPO_FIGURES=results/vllm.txt PYTHONPATH=. HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 \
		VLLM_CPU_KVCACHE_SPACE=1 VLLM_LOGGING_LEVEL=ERROR $(VLLM_ENV)/bin/python -m pytest tests/vllm_engine
	@cat results/vllm.txt

bench: setup  ## benchmarks of trainer, head and grading on this machine, appended to benchmarks/results
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench]"
	# verl's rules are single files; what the package requires is a training stack of its own
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps verl==0.9.1
	$(BIN)/python benchmarks/bench_grading.py
	cd benchmarks && ../$(BIN)/python bench_update.py && ../$(BIN)/python bench_head.py \
		&& ../$(BIN)/python bench_grpo_step.py

bench-gpu: setup  ## the same on one GPU in bfloat16, at the paper's lengths
	cd benchmarks && ../$(BIN)/python bench_update.py --device cuda --hidden 1024 --layers 24 \
		--prompt 6144 --response 2048 --groups 2 --budget 65536 --checkpointing \
		&& ../$(BIN)/python bench_head.py --device cuda --width 1024 --most 60

gpu-check: setup  ## update, kernels, memory at the shapes of 0.8B, 2B and 4B: one GPU, 8 minutes
	PYTHONPATH=. $(BIN)/python benchmarks/gpu_check.py --out benchmarks/results/gpu

gpu-wheels:  ## what gpu-check needs on a machine with PyTorch alone and no network, unpacked in .gpu
	rm -rf .gpu && mkdir -p .gpu/wheels
	$(PYTHON) -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
		--python-version $(GPU_PYTHON) --implementation cp --platform manylinux2014_x86_64 \
		-c constraints.txt -d .gpu/wheels pydantic pydantic-core annotated-types typing-inspection \
		einops fla-core==0.6.0 flash-linear-attention==0.6.0
	cd .gpu && for wheel in wheels/*.whl; do $(PYTHON) -m zipfile -e $$wheel .; done && rm -r wheels

two-hosts: setup  ## an update over two nodes of one Ray, one killed: network namespaces, needs root
	$(BIN)/python benchmarks/two_hosts.py

eval-fixtures: setup  ## small data sets with the real schemas of the 31 benchmarks, in results/fixtures
	$(BIN)/python -m eval.fixtures --out results/fixtures

evidence: setup  ## eight methods, five seeds, docs/evidence.md: hours; stop and start it at will
	$(BIN)/python flows/sweep_flow.py run --preset evidence --max-workers 2

kill-matrix: setup  ## SIGKILL in every step a hundred times, what goes on is compared; goes on
	nice -n 5 $(BIN)/python tools/kill_matrix.py --report docs/reliability.md

soak: setup  ## 300 rollout steps: memory, open files, files and bytes of a step, in docs/reliability.md
	nice -n 5 $(BIN)/python tools/soak.py --report docs/reliability.md

two-clones: setup  ## two clean clones train a small run each: equal weights, journal and database
	$(BIN)/python tools/two_clones.py

readme-figures: setup  ## the README's run anew, in a clean clone: its tables line by line
	$(BIN)/python tools/two_clones.py --readme

# the tools that look at others' packages are in an environment of their own
supply:
	@test -x $(SUPPLY)/bin/pip-audit || { $(PYTHON) -m venv $(SUPPLY) && $(SUPPLY)/bin/python -m pip \
		install --quiet --disable-pip-version-check uv==0.13.9 pip-audit==2.10.1 \
		pip-licenses==5.5.5 cyclonedx-bom==7.5.0; }

lock: setup supply  ## requirements.lock: every version with the hashes of its files
	SUPPLY_ENV=$(SUPPLY) $(BIN)/python tools/supply.py lock

audit: setup supply  ## known faults of the locked versions; fails too where no advisory service answers
	SUPPLY_ENV=$(SUPPLY) $(BIN)/python tools/supply.py audit

licences: setup supply  ## licences of all packages, results/licences.md; fails on one that binds users
	SUPPLY_ENV=$(SUPPLY) $(BIN)/python tools/supply.py licences

sbom: setup supply  ## what is installed, as CycloneDX: results/sbom.json
	SUPPLY_ENV=$(SUPPLY) $(BIN)/python tools/supply.py sbom

zone-sweep: setup  ## the sweeps of docs/zone*.md: hours; each run leaves a file, on any machine; goes on
	for sweep in zone zone_sizes zone_rivals; do \
	$(BIN)/python flows/sweep_flow.py run --preset $$sweep --max-workers 2 --max-num-splits 1000 && \
	$(BIN)/python -m steps.cli zone --results benchmarks/results/zone --claims $$sweep \
	  --page docs/$$sweep.md --summary docs/evidence.md || exit 1; done

clean:  ## remove what runs and tests leave behind (not .venv)
	rm -rf runs results .metaflow .pytest_cache .mypy_cache .ruff_cache .hypothesis
