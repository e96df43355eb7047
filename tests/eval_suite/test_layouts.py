"""Data sets as they really lie: branches, zips, folders of stills, moved ids, malformed golds."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from eval import fixtures, rows
from eval.archives import Archives, Index, Stills, UnreadableError
from eval.benchmark import Sample
from eval.benchmarks.mvbench import FOLDERS, file_names
from eval.benchmarks.videommmu import golds_of
from eval.benchmarks.vlmsareblind import without_shape
from eval.fixtures import video
from eval.fixtures.media import mp4
from eval.protocol import Evaluator
from eval.rows import COMMIT, Source, commit_of
from eval.settings import Settings
from eval.suite import SUITES, load
from eval.video import clip
from zppo_core.config import EvaluationConfig
from zppo_core.errors import UserError
from zppo_core.prompts import Templates
from zppo_core.rewards.grader import Grader

PAPER = {b.name: b for b in SUITES["paper31"]}


def frames(name: str, root: Path) -> dict[str, int]:
    """How many pictures each sample of a benchmark has; all of them are read."""
    return {s.id: len(s.images()) for s in load(PAPER[name], str(root))}


def mvbench(root: Path, branch: str) -> Path:
    folder = root / PAPER["MVBench"].dataset
    video.mvbench(folder, branch)
    return folder


@pytest.mark.parametrize("branch", ["video", "main"])
def test_every_task_of_mvbench_is_read_from_either_branch(branch, tmp_path):
    mvbench(tmp_path, branch)
    found = frames("MVBench", tmp_path)
    assert {i.partition("/")[0] for i in found} == set(FOLDERS)
    assert set(found.values()) == {Settings().frames}


def test_the_record_reads_the_branch_whose_files_are_there_for_every_task():
    """The commit is that of `video`; on `main` the videos of one task were deleted in 2024."""
    assert PAPER["MVBench"].revision == "a776e554280b99b70f00cc3eacd69a65e0727efc"
    assert [places[0][0] for places in FOLDERS.values()].count("nturgbd_convert") == 1


def test_the_zips_of_main_may_be_unpacked_anywhere(tmp_path):
    folder = mvbench(tmp_path, "main")
    for k, path in enumerate(sorted(folder.rglob("*.zip"))):
        target = (folder, folder / "video", folder / "data0613", folder / "unpacked/here")[k % 4]
        with zipfile.ZipFile(path) as opened:
            opened.extractall(target)
        path.unlink()
    assert set(frames("MVBench", tmp_path).values()) == {Settings().frames}


def test_an_uncut_video_is_shown_between_its_rows_bounds_and_a_cut_one_whole(tmp_path):
    """The fixture's videos are khaki from 1 s on; the rows end at 0.7 s."""
    folder = mvbench(tmp_path, "main")
    for path in (folder / "json").glob("*.json"):
        path.write_text(path.read_text().replace('"end": 1.5', '"end": 0.7'))

    def last(sample: Sample) -> tuple[int, ...]:
        picture = Image.open(io.BytesIO(sample.images()[-1]))
        return tuple(round(v / 64) for v in picture.getpixel((90, 5)))

    samples = {s.id: s for s in load(PAPER["MVBench"], str(tmp_path))}
    white, khaki = (4, 4, 4), (4, 4, 2)
    assert last(samples["action_sequence/0"]) == white
    assert last(samples["moving_count/0"]) == khaki  # has no bounds
    folder = mvbench(tmp_path / "cut", "video")
    cut = {s.id: s for s in load(PAPER["MVBench"], str(tmp_path / "cut"))}
    assert last(cut["action_sequence/0"]) == khaki


def test_names_of_a_cut_file_and_of_its_whole():
    assert file_names("a.mp4", ("1.5", "3.0"), True)[:5] == [
        "a.mp4",
        "a.webm",
        "a.avi",
        "a.mkv",
        "a_1.5_3.0.mp4",
    ]
    assert "a.mp4" in file_names("a_1.5_3.0.mp4", ("1.5", "3.0"), False)
    assert file_names("castle_s01e01.v2", ("0", "0"), True)[:2] == [
        "castle_s01e01.v2",
        "castle_s01e01.v2.mp4",
    ]
    assert file_names("x.avi", ("0", "0"), False)[:2] == ["x.avi", "x.mp4"]


def still(number: int) -> bytes:
    """A picture whose grey says its number."""
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (number * 10,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("packed", [True, False])
def test_stills_are_shown_in_the_order_of_their_numbers(packed, tmp_path):
    members = {f"deep/clip/{k}.png": still(k) for k in (10, 2, 1, 9)}
    extra = {"deep/clip/notes.txt": b"x", "__MACOSX/deep/clip/._1.png": b"no", "deep/clip/": b""}
    if packed:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
            for name, data in (members | extra).items():
                opened.writestr(name, data)
    else:
        for name, data in members.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(data)
    source = Source("", replace(PAPER["MVBench"], archives="*.zip"))
    source.folder = tmp_path
    found = source.open("clip")
    assert isinstance(found, Stills)
    pictures = clip(lambda: found, Settings(frames=4), fps=1.0)()
    greys = [Image.open(io.BytesIO(p)).getpixel((3, 3))[0] for p in pictures]
    assert [round(g / 10) for g in greys] == [1, 2, 9, 10]


def test_a_broken_still_and_a_broken_member_are_unreadable_and_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        opened.writestr("clip/1.png", b"no picture")
        opened.writestr("whole.mp4", mp4("x"), zipfile.ZIP_STORED)
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[data.find(mp4("x")) + 50] ^= 0xFF  # its checksum is wrong now
    (tmp_path / "a.zip").write_bytes(bytes(data))
    (tmp_path / "b.zip").write_bytes(b"no zip")
    archives = Archives([tmp_path / "a.zip", tmp_path / "b.zip"])
    stills = archives.find("clip")
    with pytest.raises(UnreadableError, match="broken frame in clip"):
        clip(lambda: stills, Settings(frames=2))()  # type: ignore[arg-type, return-value]
    with pytest.raises(UnreadableError, match=r"whole\.mp4 in a\.zip"):
        archives.find("whole.mp4")
    assert archives.broken[0].startswith("broken archive b.zip")


def test_a_broken_archive_costs_its_own_videos_alone(tmp_path):
    folder = mvbench(tmp_path, "main")
    (folder / "video/clevrer.zip").write_bytes(b"cut by a full disk")
    lost = []
    for sample in load(PAPER["MVBench"], str(tmp_path)):
        try:
            sample.images()
        except UnreadableError as fault:
            assert "broken archive clevrer.zip" in str(fault)  # noqa: PT017
            lost.append(sample.id.partition("/")[0])
    assert sorted(lost) == sorted(c for c, p in FOLDERS.items() if p[0][0].startswith("clevrer"))


def test_paths_are_found_by_their_end_and_never_by_half_a_name():
    index = Index.of(["a/b/x.mp4", "b/x.mp4", "other/bb/x.mp4", ".cache/b/y.mp4", "c/1.jpg"])
    assert index.find("b/x.mp4") == "b/x.mp4"
    assert index.find("a/b/x.mp4") == "a/b/x.mp4"
    assert index.find("y.mp4") is None
    assert index.find("../../etc/passwd") is None
    assert index.find("c") == "c"
    assert index.folders["c"] == ["c/1.jpg"]


def test_video_mmmus_malformed_gold_is_a_text_and_its_quoted_answers_count(tmp_path):
    fixtures.build(tmp_path, ["VMMMU"])
    samples = {s.id: s for s in load(PAPER["VMMMU"], str(tmp_path))}
    odd = samples["Adaptation/validation_Math_15"]
    assert odd.gold == "['24/7', '3.429', '3.43]"
    assert odd.golds == ("24/7", "3.429", "3.43")
    assert len(odd.images()) == Settings().frames
    evaluator = Evaluator(EvaluationConfig(), Templates(), Grader())
    from eval.protocol import Reply

    for said, score in ((odd.gold, 1.0), ("3.43", 1.0), ("24/7", 1.0), ("7", 0.0), ("24", 0.0)):
        reply = Reply.of(rf"\boxed{{{said}}}")
        assert evaluator.score(PAPER["VMMMU"], [(odd, reply)])[0].score == score, said


@pytest.mark.parametrize(
    ("answer", "golds"),
    [
        ("B", ("B",)),
        (" 0.5 ", ("0.5",)),
        ("['3.5', '7/2']", ("3.5", "7/2")),
        ("[1, 2]", ("1", "2")),
        ("[50, 100)", ("[50, 100)",)),
        ("['a', \"b]", ("['a', \"b]", "a", "b")),
        (["x", " y "], ("x", "y")),
        (7, ("7",)),
        ("[unfinished", ("[unfinished",)),
    ],
)
def test_golds_of_video_mmmu(answer, golds):
    assert golds_of(answer) == golds


@pytest.mark.parametrize("answer", ["", "[]", [], "['']"])
def test_an_empty_gold_is_an_unusable_row(answer):
    with pytest.raises(ValueError, match="no answer"):
        golds_of(answer)


def test_a_typeless_row_with_options_is_a_choice(tmp_path):
    fixtures.build(tmp_path, ["VMMMU"])
    (row,) = [s for s in load(PAPER["VMMMU"], str(tmp_path)) if "Accounting_13" in s.id]
    assert (row.rule, row.gold, len(row.options)) == ("choice", "A", 4)


@pytest.mark.parametrize("name", ["AI2D", "InfoVQA", "MM-Vet", "VMME", "VMMES", "VMMMU"])
def test_a_copy_under_the_id_of_before_the_move_is_read(name, tmp_path):
    (folder,) = fixtures.build(tmp_path, [name]).values()
    (old,) = PAPER[name].formerly
    assert folder == tmp_path / PAPER[name].dataset != tmp_path / old
    (tmp_path / old).parent.mkdir(parents=True, exist_ok=True)
    folder.rename(tmp_path / old)
    assert list(load(PAPER[name], str(tmp_path)))


def test_moved_data_sets_are_named_by_their_new_ids():
    moved = {b.name for b in PAPER.values() if b.formerly}
    assert moved == {"AI2D", "InfoVQA", "MM-Vet", "VMME", "VMMES", "VMMMU"}
    assert not {b.dataset for b in PAPER.values()} & {o for b in PAPER.values() for o in b.formerly}


def test_revisions_are_commits_and_the_same_for_benchmarks_of_one_data_set():
    of_data = {(b.dataset, b.revision) for b in PAPER.values()}
    assert len(of_data) == len({dataset for dataset, _ in of_data})  # one a data set
    branches = {b.name for b in PAPER.values() if not COMMIT.fullmatch(b.revision)}
    assert branches == {"DynaM", "MVerse", "VisP", "VBlind", "IMO-AB"}
    with_pin = Source("", PAPER["AI2D"])
    assert f"--revision {PAPER['AI2D'].revision}" in with_pin.how_to_get()


class Hub:
    """What is asked of the hub; a branch is always at the same commit."""

    def __init__(self, monkeypatch) -> None:
        import datasets
        import huggingface_hub

        self.loaded: list[tuple[str, str]] = []
        self.asked: list[str] = []
        hub = self

        def info(api, dataset, revision=None):
            hub.asked.append(f"{dataset}@{revision}")
            return type("Info", (), {"sha": "d" * 40})()

        def load_dataset(path, name=None, split=None, revision=None, cache_dir=None):
            hub.loaded.append((path, revision))
            return datasets.Dataset.from_list([{"q": "1"}, {"q": "2"}])

        commit_of.cache_clear()
        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", info)
        monkeypatch.setattr(datasets, "load_dataset", load_dataset)


def test_the_hub_is_read_at_the_records_commit_and_a_branch_at_what_it_is_now(monkeypatch, capsys):
    hub = Hub(monkeypatch)
    assert len(list(Source("", PAPER["MMLU"]).rows(["q"]))) == 2
    assert hub.loaded == [("cais/mmlu", PAPER["MMLU"].revision)]
    assert hub.asked == []
    list(Source("", PAPER["IMO-AB"]).rows(["q"]))
    list(Source("", PAPER["IMO-AB"]).rows(["q"]))
    assert hub.loaded[1:] == [("OpenEvals/IMO-AnswerBench", "d" * 40)] * 2
    assert hub.asked == ["OpenEvals/IMO-AnswerBench@main"]  # once: all parts are of one commit
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f'{{IMO-AB = "OpenEvals/IMO-AnswerBench@{"d" * 40}"}}' in said
    own = Source("", PAPER["MMLU"], "me/mmlu@" + "e" * 40)
    list(own.rows(["q"]))
    assert hub.loaded[-1] == ("me/mmlu", "e" * 40)


def test_a_data_set_that_is_a_script_or_gone_is_one_line(monkeypatch):
    import datasets

    def refuse(*a, **k):
        raise RuntimeError("Dataset scripts are no longer supported, but found x.py")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(UserError, match=r"MMLU: Dataset scripts .* get it with"):
        list(Source("", PAPER["MMLU"]).rows(["q"]))


def test_another_revision_is_another_protocol():
    def key(suite: str) -> str:
        return Evaluator(EvaluationConfig(suite=suite), Templates(), Grader()).key(True)

    before = key("MMLU")
    assert key("MMLU") == before
    records = SUITES["paper31"]
    moved = tuple(replace(b, revision="f" * 40) if b.name == "MMLU" else b for b in records)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SUITES, "paper31", moved)
        assert key("MMLU") != before
        assert key("AI2D") != before


def test_totals_that_authors_publish_instead_of_our_default_are_totals_of_the_record():
    named = {b.name: b.headline for b in PAPER.values() if b.headline}
    assert named.keys() == {
        "CharXiv",
        "DynaM",
        "MM-Vet",
        "MMMUPro",
        "VBlind",
        "WeMath",
        "MultiCh",
    }
    for name, totals in named.items():
        assert set(totals) <= set(PAPER[name].totals)
        assert totals != PAPER[name].totals[:1]
        text = (Path(__file__).parents[2] / "docs/evaluation.md").read_text(encoding="utf-8")
        row = next(line for line in text.splitlines() if line.startswith(f"| {name} | **"))
        assert all(f"`{t}`" in row for t in totals)


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        (
            "Count the number of rows and columns and answer with numbers in curly brackets. For "
            "example, rows={5} columns={6}",
            "Count the number of rows and columns.",
        ),
        (
            "How many squares are there? Answer with a number in curly brackets, e.g., {9}.",
            "How many squares are there?",
        ),
        ("Find the letter, and write it in curly braces like {a}", "Find the letter."),
        (
            "Are the two circles touching each other? Answer with Yes/No.",
            "Are the two circles touching each other? Answer with Yes/No.",
        ),
        ("Answer with a number in curly brackets", "Answer with a number in curly brackets"),
    ],
)
def test_of_a_sentence_that_asks_and_directs_what_asks_stays(prompt, asked):
    assert without_shape(prompt) == asked


def test_a_row_that_cannot_be_used_goes_by_its_own_id(tmp_path):
    (folder,) = fixtures.build(tmp_path, ["VMMMU"]).values()
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = next(folder.rglob("Adaptation/*.parquet"))
    table = pq.read_table(file)
    kept = table.to_pylist()
    kept[0]["answer"] = ""
    pq.write_table(pa.Table.from_pylist(kept, table.schema), file)
    first = next(s for s in load(PAPER["VMMMU"], str(tmp_path)) if s.id.startswith("Adaptation"))
    assert first.id == "Adaptation/validation_Art_Theory_1"
    with pytest.raises(rows.UnreadableError, match="no answer"):
        first.images()
