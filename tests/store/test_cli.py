import json
import time
from pathlib import Path

import pytest

from zppo_core.cli import cache_main, export_main
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.protocols import Sampling
from zppo_core.store.cache_tools import prune, usage, verify
from zppo_core.store.checkpoint import save_checkpoint
from zppo_core.store.journal import Journal
from zppo_core.store.objects import LocalStore, open_store
from zppo_core.store.teacher_cache import DrawRequest, Memo, TeacherCache
from zppo_core.types import Prompt

ENGINE = ScriptedEngine(lambda prompt, member: f"{prompt.text}: {member}", "teacher")


def fill(store) -> None:
    """Two runs of 3 questions, the second with one more; a memo; an evaluation; a stranger."""
    for n in (3, 4):
        requests = [DrawRequest(f"q{i}", Prompt(f"q{i}"), 0) for i in range(n)]
        TeacherCache(store).draws(requests, ENGINE, Sampling(64, n=2))
    Memo(store).put("short", "compress", "long")
    Journal(store, "evaluations").commit("nano/digits/base", {"scores": b"123"})
    store.put("run-7/journal/step-000000/plain/groups.json", b"not the cache's")


def test_a_report_counts_what_the_cache_holds_and_saved(store) -> None:
    fill(store)
    report, used = verify(store), usage(store)
    assert (report.objects, report.draws, report.memos, report.evaluations) == (6, 8, 1, 1)
    assert report.tokens == 8 * len("q0: 0")
    assert report.damaged == ()
    assert (used.sessions, used.hits, used.misses) == (2, 6, 8)
    assert used.hit_rate == pytest.approx(6 / 14)
    assert (used.tokens, used.saved) == (8 * len("q0: 0"), 6 * len("q0: 0"))


def test_pruning_takes_what_is_damaged_and_nothing_else(store) -> None:
    fill(store)
    draw = store.list("draws/")[0]
    memo = store.list("memo/")[0]
    for key in (draw, memo, "evaluations/nano/digits/base/scores"):
        store.put(key, b"damaged")
    damaged = (draw, memo, "evaluations/nano/digits/base/manifest.json")
    assert verify(store).damaged == damaged
    assert prune(store) == 3
    assert verify(store).damaged == ()
    assert Journal(store, "evaluations").read("nano/digits/base") is None
    assert (verify(store).draws, verify(store).memos) == (6, 0)
    assert prune(store, older_than=3600) == 0
    assert prune(store, older_than=-10) > 0
    assert verify(store).objects == 0
    fill(store)
    assert prune(store, everything=True) > 0
    assert store.list() == ["run-7/journal/step-000000/plain/groups.json"]


def test_the_commands_print_what_they_find(tmp_path: Path, capsys) -> None:
    store = LocalStore(tmp_path)
    fill(store)
    assert cache_main(["stats", "--store", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "8 teacher draws" in text
    assert "42.9% were there" in text
    assert cache_main(["stats", "--store", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["used_saved"] == 30
    assert cache_main(["verify", "--store", str(tmp_path)]) == 0
    key = store.list("draws/")[0]
    store.put(key, b"x")
    capsys.readouterr()
    assert cache_main(["verify", "--store", str(tmp_path)]) == 1
    assert f"damaged: {key}" in capsys.readouterr().out
    assert cache_main(["prune", "--store", str(tmp_path)]) == 0
    assert "1 objects deleted" in capsys.readouterr().out
    assert cache_main(["prune", "--store", str(tmp_path), "--older-than", "1"]) == 0
    assert "0 objects" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        "stats --store {0}/nothing",
        "verify --store http://x",
        "--checkpoint {0}/nothing --to {0}/out",
        "--checkpoint {0}/run --to {0}/out --step 5",
        "--checkpoint {0}/run --to {0}/full",
        "--checkpoint {0}/torn/checkpoints/step-000004 --to {0}/out",
    ],
)
def test_a_fault_is_one_line_and_code_2(tmp_path: Path, command: str, capsys) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    student(LocalStore(tmp_path / "run"), 4)
    student(LocalStore(tmp_path / "torn"), 4)
    (tmp_path / "torn/checkpoints/step-000004/state.json").write_text("torn")
    main = export_main if "--checkpoint" in command else cache_main
    assert main(command.format(tmp_path).split()) == 2
    faults = capsys.readouterr().err.strip().splitlines()
    assert len(faults) == 1
    assert faults[0].startswith("zppo: ")
    assert not (tmp_path / "out").exists()


def student(store, step: int) -> None:
    def write(folder: Path) -> None:
        (folder / "student").mkdir()
        (folder / "student" / "config.json").write_text("{}")
        (folder / "student" / "model.safetensors").write_bytes(b"w" * step)
        (folder / "state.json").write_text("{}")

    save_checkpoint(store, "", step, write, keep=2)


def test_the_student_is_exported_as_an_ordinary_folder(store, tmp_path: Path, capsys) -> None:
    for step in (4, 8):
        student(store, step)
    run = str(store.root) if isinstance(store, LocalStore) else store.url
    assert export_main(["--checkpoint", run, "--to", str(tmp_path / "last")]) == 0
    assert "step 8: 2 files" in capsys.readouterr().out
    assert sorted(p.name for p in (tmp_path / "last").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert (tmp_path / "last" / "model.safetensors").read_bytes() == b"w" * 8
    one = f"{run}/checkpoints/step-000004"
    assert export_main(["--checkpoint", one, "--to", str(tmp_path / "one"), "--whole"]) == 0
    assert (tmp_path / "one/student/model.safetensors").read_bytes() == b"w" * 4
    assert (tmp_path / "one/state.json").exists()
    store.put("checkpoints/step-000008/student/config.json", b"damaged")
    capsys.readouterr()
    assert export_main(["--checkpoint", run, "--to", str(tmp_path / "before")]) == 0
    captured = capsys.readouterr()
    assert "step 4: 2 files" in captured.out
    assert "step 8 is damaged" in captured.err


def test_a_student_is_pushed_to_s3(s3_url: str, tmp_path: Path) -> None:
    student(LocalStore(tmp_path / "run"), 4)
    started = time.monotonic()
    assert export_main(["--checkpoint", str(tmp_path / "run"), "--to", s3_url]) == 0
    assert open_store(s3_url).list() == ["README.md", "config.json", "model.safetensors"]
    assert open_store(s3_url).get("model.safetensors") == b"wwww"
    assert time.monotonic() - started < 20
