"""The 77K builder on small files with the sources' own columns."""

import io
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image
from sources77k import (
    copy_of,
    corpus_rows,
    mmfine,
    picture,
    places,
    small_caps,
    tokens,
    vero,
    write,
)

from zppo_core.data.corpus import TableCorpus
from zppo_core.data.zppo77k import build as build77k
from zppo_core.data.zppo77k import rows as rows77k
from zppo_core.data.zppo77k.build import Builder, build, parts_of
from zppo_core.data.zppo77k.similar import signature
from zppo_core.data.zppo77k.sources import Names, Recipe
from zppo_core.errors import UserError
from zppo_core.protocols import silent
from zppo_core.store.objects import open_store, put_tree

__all__ = ["small_caps"]  # a fixture


@pytest.mark.usefixtures("small_caps")
def test_every_filter_drops_by_its_reason_and_nothing_is_lost(tmp_path: Path) -> None:
    big = {"bytes": picture(1, (3000, 3000)), "path": None}
    small = {"bytes": picture(2, (99, 200)), "path": None}
    broken = {"bytes": b"\x89PNG nonsense", "path": None}
    band = {"bytes": picture(3, (20_100, 100)), "path": None}
    extra = {"question": "Where?", "answer": "[1,2]", "reward_type": "grounding"}
    veros = {
        "stem-tqa": [vero(i, "tqa") for i in range(3)]
        + [vero(3, "tqa", image=small), vero(4, "tqa", image=broken), vero(5, "tqa", image=big)]
        + [vero(6, "tqa", extra_info=extra), vero(0, "tqa"), vero(7, "tqa", image=band)],
        "spatial_action-game_QA": [vero(20, "game_QA")],
    }
    fines = [
        mmfine(0),
        mmfine(1, pass_rate=0.75),
        mmfine(2, pass_rate=0.5),
        mmfine(3, answer=None),
        mmfine(4, answer="x" * 513),
        mmfine(5, "FineVision-tqa"),
        mmfine(6, "GameQA-140K"),
    ]
    out = tmp_path / "out"
    card = build(places(tmp_path, veros, fines), out, Recipe(), tokens)
    assert dict(card.rejects) == {
        "image smaller than 100 pixels": 1,
        "unreadable image": 1,
        "image 200 times as long as wide": 1,
        "prompt longer than 4096 tokens": 1,
        "gold of type grounding": 1,
        "id seen before": 1,
        "sub-dataset not listed": 2,
        "pass rate above 0.5": 1,
        "no answer": 1,
        "answer longer than 512 characters": 1,
        "sub-dataset taken from Vero": 1,
    }
    assert card.by_name["tqa"] == 3
    assert card.by_name["mmr1"] == 2
    assert card.rows == 17 == card.kept + sum(card.rejects.values())
    rejects = pq.read_table(out / "rejects.parquet").to_pylist()
    assert Counter(r["reason"] for r in rejects) == card.rejects
    rows = corpus_rows(out)
    assert [r["id"] for r in rows] == sorted(r["id"] for r in rows)
    assert {r["question"] for r in rows if r["canonical"] == "tqa"} == {
        f"What is number {i} of tqa?" for i in range(3)
    }
    assert all("<image>" not in r["question"] and r["answer"] for r in rows)
    assert {r["tier"] for r in rows} == {1}


@pytest.mark.usefixtures("small_caps")
def test_caps_hold_by_canonical_name_and_the_draw_is_the_seeds(tmp_path: Path) -> None:
    veros = {
        "stem-wemath20_pro": [vero(i, "wemath20_pro") for i in range(12)],
        "stem-wemath20_standard": [vero(100 + i, "wemath20_standard") for i in range(12)],
        "stem-vqarad": [vero(200 + i, "vqarad") for i in range(12)],
    }
    where = places(tmp_path, veros, [mmfine(i) for i in range(3)])
    drawn = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        card = build(where, tmp_path / name, Recipe(seed=seed), tokens)
        assert dict(+card.by_name) == {"wemath": 8, "vqarad": 4, "mmr1": 3}
        drawn[name] = corpus_rows(tmp_path / name)
    assert drawn["a"] == drawn["b"] != drawn["c"]
    reasons = Counter(
        r["reason"] for r in pq.read_table(tmp_path / "a/rejects.parquet").to_pylist()
    )
    assert reasons == {"over the cap": 24}


@pytest.mark.usefixtures("small_caps")
def test_a_build_that_dies_goes_on_and_ends_the_same(tmp_path: Path, monkeypatch) -> None:
    veros = {"stem-tqa": [vero(i, "tqa") for i in range(30)]}
    where = places(tmp_path, veros, [mmfine(i) for i in range(30)])
    build(where, tmp_path / "whole", Recipe(), tokens)
    monkeypatch.setattr(build77k, "COMMIT", 7)
    for dies_at in (10, 25, 20):
        real, calls = rows77k.read_row, []

        def dying(*arguments, real=real, calls=calls, dies_at=dies_at):
            calls.append(1)
            if len(calls) == dies_at:
                raise KeyboardInterrupt
            return real(*arguments)

        monkeypatch.setattr(build77k, "read_row", dying)
        with pytest.raises(KeyboardInterrupt):
            build(where, tmp_path / "killed", Recipe(), tokens)
        monkeypatch.setattr(build77k, "read_row", real)
    card = build(where, tmp_path / "killed", Recipe(), tokens)
    assert card.rows == 60
    assert corpus_rows(tmp_path / "killed") == corpus_rows(tmp_path / "whole")
    manifests = [(tmp_path / n / "manifest.json").read_text() for n in ("killed", "whole")]
    assert manifests[0] == manifests[1]
    with pytest.raises(UserError, match="another recipe"):
        Builder(tmp_path / "killed", Recipe(seed=5), tokens)


@pytest.mark.usefixtures("small_caps")
def test_near_duplicates_and_overlaps_are_dropped_and_the_reserve_fills_in(tmp_path: Path) -> None:
    rows = [vero(i, "tqa") for i in range(10)]
    copy = vero(
        50,
        "tqa",
        image={"bytes": copy_of(picture(0), (240, 220), "JPEG"), "path": None},
        extra_info={"question": "What is number 0 of tqa", "answer": "0", "reward_type": "numeric"},
    )
    where = places(tmp_path, {"stem-tqa": [*rows[:7], copy]}, [mmfine(0)])
    card = build(where, tmp_path / "near", Recipe(), tokens)
    assert card.by_name["tqa"] == 7
    assert card.rejects["nearly the same as another question"] == 1
    tested = [signature("What is number 3 of tqa?", picture(3))]
    card = build(where, tmp_path / "tested", Recipe(drop_overlap=True), tokens, tested)
    assert card.by_name["tqa"] == 6
    assert card.rejects == {"nearly the same as another question": 1, "overlaps the evaluation": 1}
    assert card.rows == card.kept + sum(card.rejects.values())
    assert (card.overlaps, card.compared) == (1, 1)
    card = build(where, tmp_path / "kept", Recipe(), tokens, tested)  # as the paper has it
    assert card.by_name["tqa"] == 7
    assert card.rejects == {"nearly the same as another question": 1}
    assert (card.overlaps, card.duplicates) == (1, 1)
    card = build(where, tmp_path / "all", Recipe(drop_duplicates=False), tokens, tested)
    assert card.by_name["tqa"] == 8
    assert (card.rejects, card.duplicates) == ({}, 1)
    where = places(tmp_path / "more", {"stem-tqa": [*rows, copy]}, [mmfine(0)])
    full = build(where, tmp_path / "full", Recipe(), tokens, tested)
    assert full.by_name["tqa"] == 8  # the cap, in spite of what was dropped
    assert full.short == {}


def test_other_forms_of_the_same_columns_are_read(tmp_path: Path) -> None:
    assert rows77k.user_text([{"role": "user", "content": "hi"}]) == "hi"
    assert rows77k.user_text({"role": ["system", "user"], "content": ["s", "hi"]}) == "hi"
    renamed = mmfine(0)
    renamed["qwen3vl_4b_pass_rate"] = renamed.pop("pass_rate") + 0.5
    assert rows77k.read_row("mmfine", renamed, "p#0").fault == "pass rate above 0.5"
    listed = vero(
        0, "tqa", extra_info={"question": "List", "answer": [1, 2], "reward_type": "list"}
    )
    assert rows77k.read_row("vero", listed, "p#0").answer == "1, 2"
    two = vero(0, "tqa", image=[{"bytes": picture(0)}, {"bytes": picture(1)}])
    assert rows77k.read_row("vero", two, "p#0").fault == "several images"
    with pytest.raises(UserError, match="holds no train"):
        list(parts_of("vero", str(tmp_path)))


@pytest.mark.usefixtures("small_caps")
def test_sources_on_s3_give_the_corpus_of_the_same_folders(tmp_path: Path, s3_url: str) -> None:
    here = places(tmp_path, {"stem-tqa": [vero(i, "tqa") for i in range(8)]}, [mmfine(0)])
    store = open_store(s3_url)
    for name in here:
        put_tree(here[name], store, name)
    there = {name: f"{s3_url}/{name}" for name in here}
    for where, out in ((here, "one"), (there, "two")):
        build(where, tmp_path / out, Recipe(), tokens)
    assert corpus_rows(tmp_path / "one") == corpus_rows(tmp_path / "two")
    assert len(corpus_rows(tmp_path / "two")) == 9
    late = next(iter(parts_of("vero", there["vero"])))
    assert [row["id"] for row in late.rows(6)] == ["v6", "v7"]


@pytest.mark.usefixtures("small_caps")
def test_a_corpus_on_s3_is_built_once_and_copied_where_it_is_read(
    tmp_path: Path, s3_url: str, monkeypatch, capsys
) -> None:
    from zppo_core.config import load
    from zppo_core.run.corpus import build_77k, build_corpus

    where = places(tmp_path, {"stem-tqa": [vero(i, "tqa") for i in range(8)]}, [mmfine(0)])
    config = load(
        "nano",
        [
            "data.source=zppo77k",
            f"data.corpus={s3_url}/corpus",
            f"data.vero={where['vero']}",
            f"data.mmfine={where['mmfine']}",
            "evaluation.suite=nano_rows",
        ],
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "laptop"))
    with pytest.raises(UserError, match="no finished corpus in s3://"):
        build_corpus(config)
    build_77k(config, [], silent)
    digests = []
    for machine in ("laptop", "pod"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / machine))
        build_77k(config, [], silent)  # it is there: nothing happens
        corpora = [build_corpus(config), build_corpus(config)]
        assert len(corpora[1]) == 9
        digests += [c.digest() for c in corpora]
    assert len(set(digests)) == 1
    said = capsys.readouterr().out
    assert said.count("rows kept") == 1
    assert said.count("copied from") == 2  # once a machine
    store = open_store(f"{s3_url}/corpus")
    store.put("manifest.json", store.get("manifest.json") + b" ")  # as if built anew
    build_corpus(config)
    assert capsys.readouterr().out.count("copied from") == 1


@pytest.mark.usefixtures("small_caps")
def test_runs_that_begin_together_build_the_corpus_once(tmp_path: Path, capsys) -> None:
    from zppo_core.config import load
    from zppo_core.run.corpus import build_77k, build_corpus

    where = places(tmp_path, {"stem-tqa": [vero(i, "tqa") for i in range(8)]}, [mmfine(0)])
    config = load(
        "nano",
        [
            "data.source=zppo77k",
            f"data.corpus={tmp_path}/corpus",
            f"data.vero={where['vero']}",
            f"data.mmfine={where['mmfine']}",
            "evaluation.suite=nano_rows",
        ],
    )
    with ThreadPoolExecutor(3) as pool:
        for build in [pool.submit(build_77k, config, [], silent) for _ in range(3)]:
            build.result()
    assert len(build_corpus(config)) == 9
    said = capsys.readouterr().out
    assert said.count("rows kept") == 1
    assert said.count("another process builds") == 2


@pytest.mark.usefixtures("small_caps")
def test_the_corpus_is_read_from_disk_question_by_question(tmp_path: Path) -> None:
    where = places(tmp_path, {"stem-tqa": [vero(i, "tqa") for i in range(8)]}, [mmfine(0)])
    build(where, tmp_path / "out", Recipe(), tokens)
    corpus = TableCorpus(tmp_path / "out", seed=3)
    assert len(corpus) == 9
    question = corpus["vero/stem-tqa/v5"]
    assert (question.text, question.gold) == ("What is number 5 of tqa?", "5")
    assert question.images == (picture(5),)
    assert question.category == "tqa"
    assert len(set(corpus.new_ids(0, 4) + corpus.new_ids(1, 4))) == 8
    with pytest.raises(UserError, match="no finished corpus"):
        TableCorpus(tmp_path / "nowhere", seed=0)
    assert Names().by_name["tqa"].cap == 8
    assert json.loads((tmp_path / "out/manifest.json").read_text())["questions"] == 9


@pytest.mark.usefixtures("small_caps")
def test_the_prepare_step_builds_the_corpus_with_the_students_own_processor(
    tmp_path: Path, capsys
) -> None:
    from zppo_core.config import load
    from zppo_core.run.corpus import build_77k, build_corpus

    veros = {"stem-tqa": [vero(i, "tqa") for i in range(6)]}
    where = places(tmp_path, veros, [mmfine(i) for i in range(6)])
    asked = {"question": "very " * 300 + "long?", "answer": "1", "reward_type": "numeric"}
    long = vero(7, "tqa", extra_info=asked)
    write(tmp_path / "vero" / "stem-tqa" / "train-00001.parquet", [long])
    sets = {
        "data.source": "zppo77k",
        "data.corpus": tmp_path / "out",
        "data.vero": where["vero"],
        "data.mmfine": where["mmfine"],
        "evaluation.suite": "nano_rows",
        "data.max_prompt_tokens": 300,
    }
    config = load("nano", [f"{k}={v}" for k, v in sets.items()])
    build_77k(config, [], silent)
    build_77k(config, [], silent)  # it is there: nothing happens
    assert capsys.readouterr().out.count("rows kept") == 1
    corpus = build_corpus(config)
    assert corpus.kinds() == {"tqa": 6, "mmr1": 6}
    assert len(corpus.digest()) == 64
    card = (tmp_path / "out" / "card.md").read_text()
    assert "| prompt longer than 300 tokens | 1 |" in card
    assert (tmp_path / "out" / "card.png").read_bytes().startswith(b"\x89PNG")
    # the count is what encoding gives
    from zppo_core import models
    from zppo_core.prompts import OURS
    from zppo_core.types import Prompt

    renderer = models.load_renderer("nano:student", 0, images=True)
    for question_id in corpus.ids[:3]:
        q = corpus[question_id]
        text = OURS.with_closer(q.text)
        size = (120, 110)
        encoded = renderer.encode(Prompt(text, q.images))
        assert renderer.count(text, [size], False) == encoded.length


def test_overlap_is_looked_for_in_the_evaluations_own_copies(tmp_path: Path, capsys) -> None:
    from eval import fixtures
    from eval.overlap import evaluation_signatures
    from zppo_core.config import load

    fixtures.build(tmp_path)
    sets = ["evaluation.suite=AI2D", f"evaluation.source={tmp_path}"]
    assert len(list(evaluation_signatures(load("nano", sets)))) > 0
    nowhere = [sets[0], f"evaluation.source={tmp_path}/nowhere"]
    assert list(evaluation_signatures(load("nano", nowhere))) == []
    assert "no check of overlap with AI2D" in capsys.readouterr().out


@pytest.mark.usefixtures("small_caps")
def test_pictures_are_written_within_the_bounds_and_counted_so(tmp_path: Path) -> None:
    from zppo_core import models
    from zppo_core.config import Config, load
    from zppo_core.prompts import OURS
    from zppo_core.run.corpus import build_77k, build_corpus
    from zppo_core.types import Prompt

    shapes = {0: (400, 300), 1: (100, 110), 2: (100, 100), 3: (1500, 110)}
    rows = [
        vero(i, "tqa", image={"bytes": picture(i, size), "path": None})
        for i, size in shapes.items()
    ]
    where = places(tmp_path, {"stem-tqa": rows}, [])

    def config(*sets: str, out: str) -> Config:
        return load(
            "nano",
            [
                "data.source=zppo77k",
                f"data.corpus={tmp_path / out}",
                f"data.vero={where['vero']}",
                f"data.mmfine={where['mmfine']}",
                "evaluation.suite=nano_rows",
                "data.max_prompt_tokens=98",
                *sets,
            ],
        )

    bounds = "data.min_pixels=10500", "data.max_pixels=11500"
    bounded, own = config(*bounds, out="bounded"), config(out="own")
    build_77k(bounded, [], silent)
    corpus = build_corpus(bounded)
    renderer = models.load_renderer("nano:student", 0, images=True)
    sizes = {}
    for question_id in (f"vero/stem-tqa/v{i}" for i in shapes):
        q = corpus[question_id]
        sizes[question_id[-2:]] = size = Image.open(io.BytesIO(q.images[0])).size
        text = OURS.with_closer(q.text)
        assert renderer.count(text, [size], False) == renderer.encode(Prompt(text, q.images)).length
    assert sizes == {"v0": (123, 92), "v1": (100, 110), "v2": (103, 103), "v3": (396, 29)}
    assert corpus["vero/stem-tqa/v1"].images == (picture(1, (100, 110)),)
    written = {r["id"][-2:]: (r["width"], r["height"]) for r in corpus_rows(tmp_path / "bounded")}
    assert {k: written[k] for k in sizes} == sizes

    build_77k(own, [], silent)  # as they are, the large ones make too long prompts
    assert {i[-2:] for i in build_corpus(own).ids} == {"v1", "v2"}
    with pytest.raises(UserError, match=r"built with data\.min_pixels=10500,.* has .*min_pixels=0"):
        build_corpus(config(out="bounded"))
    (tmp_path / "bounded" / "manifest.json").unlink()
    with pytest.raises(UserError, match="another recipe"):
        build_77k(config(out="bounded"), [], silent)
