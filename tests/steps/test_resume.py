"""What must be the same when a run goes on, and what may differ."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from eval.models import eval_models
from steps.prepare_data import settled
from steps.start import open_run
from zppo_core import models
from zppo_core.config import load
from zppo_core.data.corpus import ListCorpus
from zppo_core.data.digits import train_questions
from zppo_core.errors import UserError
from zppo_core.records.schema import decode, encode
from zppo_core.run.corpus import build_corpus
from zppo_core.run.resume import same_beginning
from zppo_core.run.setup import same_configuration
from zppo_core.run.spec import Run
from zppo_core.run.timing import record_stage, seconds_alive
from zppo_core.store.checkpoint import save_checkpoint
from zppo_core.store.journal import Journal
from zppo_core.store.objects import LocalStore

BASE = {
    "run_key": "r",
    "created_at": None,
    "scale": "nano",
    "method": "zppo",
    "seed": 0,
    "code_version": "x",
    "machine": "x",
    "student_model": "nano:student",
    "student_params": 1,
}


def journal_of(tmp_path, configured: dict[str, Any], base: str = "base") -> Journal:
    from datetime import datetime

    row = BASE | {
        "config_json": json.dumps(configured),
        "base_model_key": base,
        "created_at": datetime(2026, 1, 1),
    }
    journal = Journal(LocalStore(tmp_path), "r/journal")
    journal.commit("run", {"runs.parquet": encode("runs", [row])})
    return journal


def test_a_named_run_goes_on_where_things_moved_and_is_refused_where_it_would_differ(tmp_path):
    before = load("nano").to_dict()
    del before["data"]["min_pixels"]  # the code of that day had no such field
    before["compute"] |= {"nodes": 8, "overlap": 2}  # nor has ours these
    journal = journal_of(tmp_path, before)
    moved = [
        "teacher.endpoint=http://elsewhere:1/v1",
        "compute.ray=10.0.0.9:1",
        "store.database=other.duckdb",
    ]
    same_configuration(journal, load("nano", moved))
    with pytest.raises(UserError, match=r"with another data\.min_pixels, optimizer\.lr; choose"):
        same_configuration(journal, load("nano", ["optimizer.lr=1", "data.min_pixels=9"]))


def test_a_run_stored_when_tables_were_text_goes_on_under_its_name(tmp_path) -> None:
    before = load("nano").to_dict()
    before["data"]["more_configs"] = " ecd_vqa=2 , reachqa = 2"  # as it was typed
    before["evaluation"]["settings"] = "frames=16; totals=DynaM=pooled"
    journal = journal_of(tmp_path, before)
    now = {
        "data.more_configs": {"ecd_vqa": 2, "reachqa": 2},
        "evaluation.settings": {"frames": 16, "totals": {"DynaM": "pooled"}},
    }
    assert same_configuration(journal, load("nano", now))[1] == {}
    with pytest.raises(UserError, match=r"another data\.more_configs; choose"):
        same_configuration(journal, load("nano", now | {"data.more_configs": {"ecd_vqa": 2}}))


def test_one_pass_is_counted_when_the_corpus_is_there(tmp_path):
    sets = f"store.root={tmp_path};run.rollout_steps=0;data.source={tmp_path}/t.jsonl"
    sets += ";rollout.new_prompts=4"
    setup = open_run("nano", "", "", sets, "1")  # nothing is read yet
    assert setup["rollout_steps"] == 0
    rows = [{"question": f"q{i}?", "answer": str(i)} for i in range(18)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert settled(setup)["rollout_steps"] == 4
    assert settled(setup | {"rollout_steps": 9})["rollout_steps"] == 9


def run_in(folder: Path, steps: int = 0) -> Run:
    """A run with the key "r" in the store `folder`."""
    place = str(folder)
    return Run("r", load("nano"), "2026-01-01T00:00:00", place, place, f"{place}/db", steps)


def world_of(questions: int, *sets: str) -> Any:
    model = models.load("nano:student", torch.float32)[0]
    corpus = ListCorpus(train_questions(questions, 0), 0)
    return SimpleNamespace(config=load("nano", sets), corpus=corpus, model=model)


def test_a_run_does_not_go_on_with_other_questions(tmp_path):
    run = run_in(tmp_path)
    same_beginning(world_of(6), run)
    same_beginning(world_of(6), run)
    with pytest.raises(UserError, match="corpus is not the one"):
        same_beginning(world_of(7), run)


ODD = ("{}", "[]", "null", "7", '"x"', "", '{"sha256": "1', '{"sha256": 7}', "[" * 100_000)


@pytest.mark.parametrize("text", ODD)
def test_a_damaged_note_of_the_corpus_is_one_line(tmp_path, text: str):
    run = run_in(tmp_path)
    same_beginning(world_of(6), run)
    note = tmp_path / "r" / "corpus.json"
    cut, whole = note.write_text, lambda text: run.store.put("r/corpus.json", text.encode())
    for write in (cut, whole):  # without the store's own sum of it, and with one
        write(text)
        with pytest.raises(UserError, match=r"r/corpus\.json.* is damaged .*delete it") as said:
            same_beginning(world_of(6), run)
        assert len(str(said.value).splitlines()) == 1
    note.unlink()
    same_beginning(world_of(6), run)


@pytest.mark.parametrize("text", [*ODD, '{"recipe": null, "questions": 1}', '{"recipe": {}}'])
def test_a_damaged_manifest_of_the_corpus_is_one_line(tmp_path, text: str):
    (tmp_path / "manifest.json").write_text(text)
    config = load("nano", ["data.source=zppo77k", f"data.corpus={tmp_path}"])
    with pytest.raises(UserError, match=r"manifest\.json is damaged .*builds .* anew") as said:
        build_corpus(config)
    assert len(str(said.value).splitlines()) == 1


def test_adapters_do_not_go_on_over_another_base(tmp_path):
    world = world_of(6, "trainer.lora_rank=2")
    journal_of(tmp_path / "same", {}, models.weights_name(world.model))
    same_beginning(world, run_in(tmp_path / "same"))
    journal_of(tmp_path / "other", {}, "another")
    other = run_in(tmp_path / "other")
    with pytest.raises(UserError, match="not the base"):
        same_beginning(world, other)
    same_beginning(world_of(6), other)  # its checkpoints hold every weight


def test_an_older_checkpoint_is_not_evaluated_as_the_runs_student(tmp_path):
    store = LocalStore(tmp_path)
    save_checkpoint(store, "r", 3, lambda folder: (folder / "x").write_text("x"), 2)
    journal_of(tmp_path, {})
    compared = eval_models(run_in(tmp_path, 4), SimpleNamespace(name="t"))
    assert next(compared).role == "base"
    with pytest.raises(UserError, match="the one after 3 of 4 rollout steps"):
        next(compared)


def test_a_stage_counts_its_process_unless_it_shares_it(tmp_path):
    run = run_in(tmp_path)
    record_stage(run, "epoch/0")
    record_stage(run, "epoch/20", seconds=2.5)
    journal = Journal(LocalStore(tmp_path), "r/journal")

    def seconds(unit: str) -> float:
        files = journal.read(unit)
        assert files is not None
        return decode("phases", files["phases.parquet"]).to_pylist()[0]["seconds"]

    assert 0 < seconds("stage/epoch/0") <= seconds_alive()
    assert seconds("stage/epoch/20") == 2.5
