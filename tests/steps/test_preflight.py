import importlib.util
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from steps import launch
from steps.early import parse
from steps.machine import machine, workers
from steps.start import open_run
from zppo_core.config import load
from zppo_core.config.overrides import resolve, split_overrides
from zppo_core.errors import UserError
from zppo_core.processes import startup
from zppo_core.run.preflight import check, check_cluster, check_machine, check_packages
from zppo_core.run.spec import Run

FLOW = Path(__file__).parents[2] / "flows" / "zppo_flow.py"


def run_flow(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FLOW), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "optimizer.max_gradnorm=1"], "optimizer.max_grad_norm?"),
        (["--set", "optimizer.lr=fast"], "optimizer.lr: 'fast' is not a number"),
        (["--set", "nonsense"], "section.field=value"),
        (["--method", "zpo"], "'zppo'"),
        (["--scale", "nanno"], "'nano'"),
        (["--scale", "4B"], "--scale nano"),  # no GPU here
        (["--set", "student.model=/no/such/folder"], "config.json"),
        (["--set", "student.model=nano:professor"], "nano build"),
        (["--set", "store.root=/proc/nowhere"], "store.root"),
        (["--set", "store.database=/proc/nowhere/db"], "store.database"),
        (["--set", "evaluation.suite=paper32"], "suites: "),
        (["--set", "rollout.group_size=1"], "group_size"),
        (["--scale", "4B", "--with", "kubernetes"], "runs of store.root; use --set store.root=s3:"),
    ],
)
def test_a_fault_is_one_clear_line_before_anything_starts(arguments, says: str) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run_flow("run", *arguments, CUDA_VISIBLE_DEVICES="", PATH="/nowhere")
    assert done.returncode == 2
    assert done.stderr.startswith("zppo: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert says in done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # seconds of CPU: neither Metaflow nor torch was loaded
    assert after.ru_utime - before.ru_utime < 5


def test_options_are_read_in_both_spellings_and_sets_add_up() -> None:
    arguments = parse(
        ["run", "--scale=nano", "--seed", "3", "--set", "a.b=1;c.d=2", "--set=e.f=3", "--tag", "x"]
    )
    assert (arguments.command, arguments.scale, arguments.options.seed) == ("run", "nano", "3")
    assert split_overrides(arguments.options.set) == ("a.b=1", "c.d=2", "e.f=3")
    with pytest.raises(UserError, match="--seed: expected one argument"):
        parse(["run", "--seed"])


def test_settings_with_semicolons_of_their_own_stay_whole() -> None:
    text = "evaluation.settings=frames=16;totals=DynaM=pooled,WeMath=strict; run.seed=3"
    assert split_overrides(text) == (
        "evaluation.settings=frames=16;totals=DynaM=pooled,WeMath=strict",
        "run.seed=3",
    )
    assert split_overrides([text, "a.b=1"])[-2:] == ("run.seed=3", "a.b=1")


def test_later_overrides_win_and_seed_zero_counts() -> None:
    config = resolve("nano", "grpo", "0", ["run.seed=5", "run.seed=6"])
    assert (config.run.method, config.run.seed) == ("grpo", 6)
    assert resolve("nano", "", "0", []).run.seed == 0


def test_a_scale_asks_for_the_machine_that_it_needs() -> None:
    assert machine(parse(["run", "--scale", "4B"])).gpu == 8
    assert machine(parse(["run"])).gpu == 0
    assert machine(parse(["run", "--scale", "what"])).gpu == 0


def test_any_user_can_run_root_included(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "root")
    assert startup.user_name() == "zppo"

    def nameless() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert startup.user_name().startswith("uid")


def test_a_sound_configuration_passes(tmp_path: Path) -> None:
    check(load("nano", [f"store.root={tmp_path}", f"store.database={tmp_path}/db/x.duckdb"]))
    with pytest.raises(UserError, match=r"student\.model is empty"):
        check(load("nano", ["student.model=", f"store.root={tmp_path}"]))


def node(folder: Path, gpus: int, mebibytes: int, capability: str = "9.0") -> str:
    """A folder with an nvidia-smi that lists such a machine."""
    tool = folder / "nvidia-smi"
    lines = "".join(f"echo 'GPU {i}: H100'\n" for i in range(gpus))
    sizes = "".join(f"echo {mebibytes}\n" for _ in range(gpus))
    able = f"echo {capability}\n" * gpus
    tool.write_text(
        f'#!/bin/sh\ncase "$1" in\n-L)\n{lines};;\n*compute_cap*)\n{able};;\n*)\n{sizes};;\nesac\n'
    )
    tool.chmod(0o755)
    return str(folder)


def installed(folder: Path, *packages: str) -> str:
    """A folder for Python's path in which `packages` are."""
    for name in packages:
        (folder / name).mkdir()
        (folder / name / "__init__.py").touch()
    return str(folder)


def test_the_machine_must_have_the_gpus_and_the_memory(tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(installed(tmp_path, "vllm", "fla"))
    monkeypatch.setenv("PATH", node(tmp_path, 8, 81_559) + ":/usr/bin:/bin")
    for scale in ("0.8B", "2B", "4B", "9B"):
        check_machine(load(scale))
    with pytest.raises(UserError, match=r"does not fit: .*it fits with --set trainer\.token_bud"):
        check_machine(load("9B", ["trainer.token_budget=262144"]))
    monkeypatch.setenv("PATH", node(tmp_path, 8, 24_564) + ":/usr/bin:/bin")
    with pytest.raises(UserError, match="scale 9B does not fit: vLLM gets 10 GiB"):
        check_machine(load("9B"))
    check_machine(load("nano"))


@pytest.mark.parametrize(
    ("missing", "overrides", "words"),
    [
        ("vllm", [], r"vLLM; pip install -e '\.\[gpu\]', or use --set compute\.engine=hf"),
        ("fla", [], r"flash-linear-attention; .*--set trainer\.mode=shared_prefix"),
        ("fla", ["trainer.mode=packed"], "flash-linear-attention"),
        ("deepspeed", ["compute.update_processes=2"], r"DeepSpeed; .*update_processes=1"),
        ("deepspeed", [], r"DeepSpeed; .*--set compute\.update_processes=1$"),  # six, unsaid
        ("ray", [], r"Ray; .*--set compute\.update_processes=1$"),
        (
            "deepspeed",
            ["compute.offload=true", "compute.student_gpus=1", "compute.teacher_gpus=0"],
            r'DeepSpeed; .*--set "compute\.update_processes=1;compute\.offload=false"$',
        ),
        ("kernels", ["run.method=on_distill"], r"27B-FP8 transformers needs kernels; pip install"),
        ("kernels", ["run.method=off_distill"], r"or set teacher\.model to its bfloat16 checkp"),
        ("kernels", ["compute.engine=hf"], "needs kernels"),
        (
            "ray",
            ["compute.update_processes=1", "compute.ray=auto"],
            r'Ray; .*=1;compute\.update_hosts=1;compute\.ray="$',
        ),
    ],
)
def test_what_the_run_needs_must_be_installed(
    tmp_path, monkeypatch, missing: str, overrides: list[str], words: str
) -> None:
    monkeypatch.syspath_prepend(installed(tmp_path, *{"vllm", "fla", "kernels"} - {missing}))
    monkeypatch.setenv("PATH", node(tmp_path, 8, 81_559) + ":/usr/bin:/bin")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == missing else find(name)
    )
    with pytest.raises(UserError, match=words):
        check_machine(load("4B", overrides))
    check_machine(load("nano"))
    slow = ["compute.engine=hf", "trainer.mode=shared_prefix", "compute.update_processes=1"]
    check_machine(load("0.8B", [*slow, "run.method=grpo"]))


def test_only_what_computes_in_fp8_needs_its_kernels(tmp_path, monkeypatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name: None if name == "kernels" else find("json") if name == "vllm" else find(name),
    )
    monkeypatch.syspath_prepend(installed(tmp_path, "fla"))
    monkeypatch.setenv("PATH", node(tmp_path, 8, 81_559) + ":/usr/bin:/bin")
    distil = ["run.method=on_distill", "compute.engine_memory=0.3"]
    wide = tmp_path / "wide"
    wide.mkdir()
    for name in ("tokenizer.json", "chat_template.jinja"):
        (wide / name).touch()
    (wide / "config.json").write_text('{"quantization_config": null}')
    check_packages(load("0.8B", [*distil, f"teacher.model={wide}"]))
    (wide / "config.json").write_text('{"quantization_config": {"quant_method": "fp8"}}')
    with pytest.raises(UserError, match="needs kernels"):
        check_packages(load("0.8B", [*distil, f"teacher.model={wide}"]))
    check_packages(load("4B"))  # a teacher of vLLM's
    # older GPUs get the teacher in bfloat16, which is twice as large
    check = load("4B", distil)
    with pytest.raises(UserError, match="needs kernels"):
        check_machine(check)
    monkeypatch.setenv("PATH", node(tmp_path, 8, 81_559, "8.0") + ":/usr/bin:/bin")
    check_packages(check)
    with pytest.raises(UserError, match=r"does not fit: .*teacher 51"):
        check_machine(check)


@pytest.mark.parametrize(
    ("options", "elsewhere"),
    [
        (["--with", "kubernetes"], True),
        (["--with=batch:queue=x"], True),
        ([], False),
        (["--with", "retry"], False),
    ],
)
def test_a_laptop_without_gpus_may_send_a_run_to_a_cluster(options, elsewhere: bool) -> None:
    assert launch.runs_elsewhere(parse(["run", "--scale", "4B", *options])) == elsewhere


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["run", "--scale", "4B"], "run"),
        (["--datastore", "s3", "run"], "run"),
        (["--with", "kubernetes", "run", "--scale", "4B"], "run"),
        (["--with", "batch", "resume"], "resume"),
        (["--with=batch", "show"], ""),
        (["--help"], ""),
        (["run", "--name", "resume"], "run"),
    ],
)
def test_the_command_is_found_behind_metaflows_own_options(argv, command: str) -> None:
    assert parse(argv).command == command


def test_tasks_that_share_this_machines_gpus_run_one_at_a_time(tmp_path, monkeypatch) -> None:
    cores = os.cpu_count() or 1
    monkeypatch.setenv("PATH", node(tmp_path, 8, 81_559) + ":/usr/bin:/bin")
    large, sweep = parse(["run", "--scale", "4B"]), parse(["run", "--scales", "nano,4B"])
    assert sweep.scale == "4B"
    assert workers(large, False) == workers(sweep, False) == 1
    assert workers(large, True) == cores  # a pod each
    assert workers(parse(["run"]), False) == cores
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert workers(large, False) == cores


def test_a_flow_of_many_hosts_asks_for_their_machine_unnamed() -> None:
    assert machine(parse(["run", "--name", "x"], "4B@eight-nodes")).gpu == 8
    assert machine(parse(["run", "--name", "x", "--scale", "nano"], "4B@eight-nodes")).gpu == 0


def test_what_tasks_of_a_cluster_must_share_may_not_lie_in_a_private_folder() -> None:
    s3 = ["store.root=s3://bucket/runs", "data.corpus=s3://bucket/corpus"]
    check_cluster(load("4B", s3))
    check_cluster(load("4B", ["store.root=/efs/runs", "data.corpus=/efs/corpus"]))
    check_cluster(load("nano", s3[:1]))  # its questions are made where they are wanted
    for missing, field in ((s3[1:], "store.root"), (s3[:1], "data.corpus")):
        with pytest.raises(UserError, match=rf"do not share the folder .* of {field}; use --set"):
            check_cluster(load("4B", missing))
    check_cluster(load("4B", s3[:1]), training=False)
    with pytest.raises(UserError, match=r"store\.cache"):
        check_cluster(load("4B", [*s3, "store.cache=draws"]))


def test_weights_on_their_way_have_room_on_a_cluster() -> None:
    """A container's 64 MiB of shared memory would not take them."""
    from metaflow.plugins.resources_decorator import ResourcesDecorator

    found = machine(parse(["run", "--scale", "9B"]))
    assert set(found.needs) <= set(ResourcesDecorator.defaults)
    assert found.shared_memory * 2**20 > 2 * 9.5e9 * 2
    assert found.shared_memory < found.memory


def test_an_evaluation_on_a_cluster_needs_a_store_that_its_tasks_share(monkeypatch, capsys) -> None:
    monkeypatch.setenv("PATH", os.environ["PATH"])  # both are changed by what is called
    monkeypatch.setattr(launch, "hurry", lambda: None)
    for store, code in ((), 2), (("--set", "store.root=s3://bucket/runs"), 0):
        command = ["eval_flow.py", "run", "--scale", "4B", "--with", "batch", *store]
        monkeypatch.setattr("sys.argv", command)
        if code:
            with pytest.raises(SystemExit, match="2"):
                launch.prepare_process("EvalFlow", training=False)
            assert (
                "zppo: tasks on a cluster do not share the folder runs" in capsys.readouterr().err
            )
        else:
            assert launch.prepare_process("EvalFlow", training=False).scale == "4B"


def test_the_text_of_a_file_reaches_the_run_and_its_scale_counts(tmp_path: Path) -> None:
    text = (
        f'scale = "nano"\n[store]\nroot = "{tmp_path}/runs"\ndatabase = "{tmp_path}/x.duckdb"\n'
        "[run]\nseed = 5\nrollout_steps = 7\n"
    )
    run = Run.of(open_run("", "grpo", "", ["run.rollout_steps=3"], "1", "", text, "4B"))
    assert (run.config.scale, run.config.run.method, run.config.run.seed) == ("nano", "grpo", 5)
    assert run.rollout_steps == 3
    with pytest.raises(UserError, match=r"^--config: unknown field run\.sead"):
        open_run("", "", "", (), "1", "", "[run]\nsead = 5")


@pytest.mark.parametrize("begin", ["prepare_environment", "prepare_threads"])
def test_a_run_leaves_the_cores_to_others_and_settings_of_threads_aside(begin: str) -> None:
    """In a process that has no torch yet: torch reads them once, when it is imported."""
    code = (
        "import os, zppo_core.processes.startup as startup\n"
        f"startup.{begin}()\n"
        "print(*(os.environ.get(n) for n in ('GOMP_SPINCOUNT', *startup.THREADS)))\n"
    )
    for spin in ("", "7"):
        environment = {k: v for k, v in os.environ.items() if k != "GOMP_SPINCOUNT"}
        environment |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "64", "OMP_THREAD_LIMIT": "1"}
        environment |= {"GOMP_SPINCOUNT": spin} if spin else {}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        first = done.stdout
        assert first.split()[0] == (spin or "100")
        assert set(first.split()[1:]) == {"None"}
        assert done.stderr.splitlines() == [
            "zppo: OMP_NUM_THREADS=1 OMP_THREAD_LIMIT=1 MKL_NUM_THREADS=64 left aside; "
            "compute.threads sets the threads"
        ]


def test_the_command_line_refuses_a_name_before_metaflow_starts(monkeypatch, capsys) -> None:
    assert parse(["run", "--name=../x"]).options.name == "../x"
    monkeypatch.setattr("sys.argv", ["flow", "run", "--name", "../x"])
    with pytest.raises(SystemExit):
        launch.prepare_process("ZPPOFlow")
    said = capsys.readouterr().err
    assert said.startswith("zppo: no run can be named '../x'")
    assert len(said.splitlines()) == 1
