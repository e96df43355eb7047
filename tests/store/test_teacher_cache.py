import dataclasses
import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest

from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.protocols import Sampling
from zppo_core.store.cache_tools import prune, verify
from zppo_core.store.objects import LocalStore
from zppo_core.store.teacher_cache import DrawRequest, Memo, TeacherCache, seal
from zppo_core.types import Prompt

SAMPLING = Sampling(64, n=4)


def counting_engine(name: str = "teacher"):
    """Says something new each time it is asked, so that a second generation would show."""
    count = iter(range(10**9))
    return ScriptedEngine(lambda prompt, member: f"{prompt.text} {member} {next(count)}", name)


def requests(n: int, visit: int = 0) -> list[DrawRequest]:
    return [DrawRequest(f"q{i}", Prompt(f"question {i}"), visit) for i in range(n)]


def texts(draws):
    return [[d.text for d in group] for group in draws]


def test_what_was_drawn_is_found_again_by_any_run(tmp_path: Path) -> None:
    engine = counting_engine()
    first = TeacherCache(LocalStore(tmp_path))
    made = first.draws(requests(5), engine, SAMPLING)
    second = TeacherCache(LocalStore(tmp_path))
    found = second.draws(requests(5)[::-1], engine, SAMPLING)[::-1]
    assert texts(found) == texts(made)
    assert len(engine.asked) == 5
    assert (first.counters.misses, first.counters.hits) == (20, 0)
    assert (second.counters.misses, second.counters.hits) == (0, 20)
    assert second.counters.saved == first.counters.tokens > 0
    assert all(d.cached for group in found for d in group)
    assert all(
        np.array_equal(a.token_ids_T, b.token_ids_T) and a.finish == b.finish
        for x, y in zip(made, found, strict=True)
        for a, b in zip(x, y, strict=True)
    )


def test_a_visit_never_sees_an_earlier_visits_draws(tmp_path: Path) -> None:
    cache, engine = TeacherCache(LocalStore(tmp_path)), counting_engine()
    visits = [texts(cache.draws(requests(3, visit), engine, SAMPLING)) for visit in range(3)]
    everything = [t for visit in visits for group in visit for t in group]
    assert len(set(everything)) == len(everything) == 36


def test_who_asks_for_fewer_gets_the_first_and_who_asks_for_more_keeps_them(tmp_path) -> None:
    cache, engine = TeacherCache(LocalStore(tmp_path)), counting_engine()
    four = texts(cache.draws(requests(2), engine, SAMPLING))
    for n in (1, 2, 4):
        few = texts(cache.draws(requests(2), engine, dataclasses.replace(SAMPLING, n=n)))
        assert few == [group[:n] for group in four]
    assert len(engine.asked) == 2
    six = texts(cache.draws(requests(2), engine, dataclasses.replace(SAMPLING, n=6)))
    assert [group[:4] for group in six] == four
    assert [len(group) for group in six] == [6, 6]


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ("teacher", True),
        ("sampling", True),
        ("prompt", True),
        ("question", True),
        ("number of draws", False),
    ],
)
def test_draws_are_keyed_by_all_that_decides_them(tmp_path: Path, change: str, again: bool) -> None:
    cache, engine = TeacherCache(LocalStore(tmp_path)), counting_engine()
    cache.draws(requests(1), engine, SAMPLING)
    request, sampling = requests(1)[0], SAMPLING
    if change == "teacher":
        engine = counting_engine("another")
    elif change == "sampling":
        sampling = Sampling(64, n=4, temperature=0.5)
    elif change == "prompt":
        request = DrawRequest("q0", Prompt("question 0", thinking=True), 0)
    elif change == "question":
        request = DrawRequest("q1", Prompt("question 0"), 0)
    else:
        sampling = Sampling(64, n=2)
    misses = cache.counters.misses
    cache.draws([request], engine, sampling)
    assert (cache.counters.misses > misses) is again


def test_more_draws_keep_the_ones_there_are(tmp_path: Path) -> None:
    cache, engine = TeacherCache(LocalStore(tmp_path)), counting_engine()
    few = texts(cache.draws(requests(2), engine, Sampling(64, n=2)))
    more = texts(cache.draws(requests(2), engine, Sampling(64, n=6)))
    assert [group[:2] for group in more] == few
    assert texts(cache.draws(requests(2), engine, Sampling(64, n=6))) == more


def test_a_prefill_that_dies_loses_one_chunk_at_most(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("zppo_core.store.teacher_cache.CHUNK", 4)
    engine = counting_engine()
    answer = engine.answer

    def dying(prompt: Prompt, member: int) -> str:
        if prompt.text == "question 9":
            raise KeyboardInterrupt
        return answer(prompt, member)

    engine.answer = dying
    with pytest.raises(KeyboardInterrupt):
        TeacherCache(LocalStore(tmp_path)).draws(requests(12), engine, SAMPLING)
    engine.answer = answer
    seen: list[tuple[int, int]] = []
    cache = TeacherCache(LocalStore(tmp_path))
    cache.draws(requests(12), engine, SAMPLING, lambda *p: seen.append(p))
    assert cache.counters.hits == 8 * 4
    assert seen[0] == (9, 12)
    assert seen[-1] == (12, 12)
    assert seen == sorted(seen)


def test_a_damaged_draw_is_found_counted_and_made_again(tmp_path: Path) -> None:
    store, engine = LocalStore(tmp_path), counting_engine()
    TeacherCache(store).draws(requests(3), engine, SAMPLING)
    key = store.list("draws/")[0]
    store.put(key, store.get(key).replace(b"question", b"quest1on"))
    report = verify(store)
    assert report.damaged == (key,)
    assert (report.objects, report.draws) == (3, 8)
    cache = TeacherCache(store)
    cache.draws(requests(3), engine, SAMPLING)
    assert (cache.counters.damaged, cache.counters.hits) == (1, 8)
    assert verify(store).damaged == ()
    store.put(key, b"nonsense")
    assert prune(store) == 1
    assert verify(store).objects == 2


def _draw_all(folder: str, mark: str, n: int, start, results) -> None:
    # each process would say something else, as batches on a GPU may
    engine = ScriptedEngine(lambda prompt, member: f"{prompt.text} {member} {mark} " + "x" * 500)
    cache = TeacherCache(LocalStore(folder))
    start.wait()
    results.put((n, texts(cache.draws(requests(100), engine, Sampling(2000, n=n)))))


def test_processes_on_one_cache_agree_on_what_it_holds(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results, start = context.Queue(), context.Event()
    workers = [
        context.Process(target=_draw_all, args=(str(tmp_path), mark, n, start, results))
        for mark, n in (("a", 4), ("b", 4), ("c", 2))
    ]
    for worker in workers:
        worker.start()
    time.sleep(0.5)
    start.set()
    outputs = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    report = verify(LocalStore(tmp_path))
    assert (report.objects, report.draws, report.damaged) == (100, 400, ())
    last = TeacherCache(LocalStore(tmp_path))
    held = texts(last.draws(requests(100), counting_engine("scripted"), Sampling(2000, n=4)))
    assert last.counters.misses == 0
    for n, output in outputs:
        assert output == [group[:n] for group in held]


def test_whoever_comes_second_takes_over_the_first_ones_draws(store) -> None:
    class Slow(ScriptedEngine):
        """Another run fills the cache while this one generates."""

        def generate(self, *arguments, **options):
            TeacherCache(store).draws(requests(2), counting_engine(), Sampling(64, n=2))
            return super().generate(*arguments, **options)

    late = TeacherCache(store)
    slow = Slow(lambda prompt, member: f"late {member}", "teacher")
    got = late.draws(requests(2), slow, Sampling(64, n=3))
    assert texts(got) == [
        ["question 0 0 0", "question 0 1 1", "late 2"],
        ["question 1 0 2", "question 1 1 3", "late 2"],
    ]
    assert not any(d.cached for group in got for d in group)  # tokens were spent on all of them
    assert late.counters.tokens == 6 * len("late 0")
    assert texts(TeacherCache(store).draws(requests(2), slow, Sampling(64, n=3))) == texts(got)


def test_a_request_made_twice_in_one_call_is_asked_once(store) -> None:
    cache, engine = TeacherCache(store), counting_engine()
    twice = texts(cache.draws([*requests(2), *requests(2)], engine, SAMPLING))
    assert twice[:2] == twice[2:]
    assert len(engine.asked) == 2
    assert cache.counters.misses == 8


def test_a_partial_hit_gets_the_draws_it_would_have_had(tmp_path: Path) -> None:
    class Seeded(ScriptedEngine):
        def generate(self, prompts, sampling, seeds, progress=None):
            return [
                tuple(self._completion(f"{seed} {i}", 64) for i in range(sampling.n))
                for seed in seeds
            ]

    engine = Seeded(lambda prompt, member: "")
    grown = TeacherCache(LocalStore(tmp_path / "grown"))
    for n in (1, 3, 4):
        draws = grown.draws(requests(3), engine, Sampling(64, n=n))
    at_once = TeacherCache(LocalStore(tmp_path / "at once"), "elsewhere")
    assert texts(at_once.draws(requests(3), engine, SAMPLING)) == texts(draws)
    assert grown.counters.tokens == sum(
        len(t) * k for group in texts(draws) for t, k in zip(group, (3, 2, 2, 1), strict=True)
    )


def test_every_setting_of_sampling_but_the_number_is_in_the_key(tmp_path: Path) -> None:
    cache, base = TeacherCache(LocalStore(tmp_path)), Sampling(64, n=4)
    keys = {cache._key(requests(1)[0], "t", base)}
    for field in dataclasses.fields(Sampling):
        other = dataclasses.replace(base, **{field.name: getattr(base, field.name) + 1})
        key = cache._key(requests(1)[0], "t", other)
        assert (key in keys) is (field.name == "n"), field.name
        keys.add(key)


def test_values_are_kept_by_the_content_they_were_made_from(tmp_path: Path) -> None:
    memo = Memo(LocalStore(tmp_path))
    assert memo.get("compress", "text", 64) is None
    memo.put({"summary": "short"}, "compress", "text", 64)
    assert memo.get("compress", "text", 64) == {"summary": "short"}
    assert memo.get("compress", "text", 65) is None
    assert memo.get("judge", "text", 64) is None
    assert (memo.counters.hits, memo.counters.misses) == (1, 3)


def test_what_is_counted_of_draws_that_are_added_to(tmp_path: Path) -> None:
    """A request with some of its draws is generated whole: what was found of it saved nothing."""
    cache, engine = TeacherCache(LocalStore(tmp_path)), counting_engine()
    cache.draws(requests(1), engine, Sampling(64, n=1))
    cache.draws(requests(1), engine, SAMPLING)
    assert (cache.counters.misses, cache.counters.hits, cache.counters.saved) == (4, 1, 0)
    cache.draws([*requests(1), *requests(1)], engine, SAMPLING)  # found for both
    assert (cache.counters.misses, cache.counters.hits) == (4, 9)
    assert cache.counters.saved > 0


def test_an_engine_that_loses_a_prompt_is_an_error_and_not_a_request_without_draws(
    tmp_path,
) -> None:
    class Losing(ScriptedEngine):
        def stream(self, *arguments, **named):
            yield [pair for given in super().stream(*arguments, **named) for pair in given][1:]

    with pytest.raises(ValueError, match="shorter than the 3 prompts"):
        TeacherCache(LocalStore(tmp_path)).draws(
            requests(3), Losing(lambda p, m: "x", "teacher"), SAMPLING
        )


def test_what_another_adds_while_draws_are_merged_is_kept(tmp_path: Path) -> None:
    """Both found two draws; the other has put its fourth when ours comes with a third."""

    class Met(LocalStore):
        meets = False

        def put_many(self, items, new=False, lasting=True):
            if new and Met.meets:
                Met.meets = False  # someone keeps two, before us
                theirs = TeacherCache(LocalStore(tmp_path))
                theirs.draws(requests(1), counting_engine(), Sampling(64, n=2))
            return super().put_many(items, new, lasting)

        def swap(self, key, old, new):
            if self.late:
                self.late = False  # and then has four, between our look and our swap
                theirs = TeacherCache(LocalStore(tmp_path))
                theirs.draws(requests(1), counting_engine(), SAMPLING)
            return super().swap(key, old, new)

    store = Met(tmp_path)
    store.late, Met.meets = True, True
    got = TeacherCache(store).draws(requests(1), counting_engine(), Sampling(64, n=3))
    assert not store.late
    kept = TeacherCache(LocalStore(tmp_path)).draws(requests(1), counting_engine(), SAMPLING)
    assert all(d.cached for d in kept[0])
    assert texts(got) == [texts(kept)[0][:3]]


def test_a_damaged_value_of_a_memo_is_counted_as_such_and_none_is_no_value(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    memo = Memo(store)
    memo.put("value", "kind", 1)
    (key,) = store.list("memo/")
    store.put(key, store.get(key).replace(b"value", b"eulav"))
    assert memo.get("kind", 1) is None
    assert (memo.counters.damaged, memo.counters.misses, memo.counters.hits) == (1, 0, 0)
    with pytest.raises(ValueError, match="None says"):
        memo.put(None, "kind", 1)


def test_equal_values_are_equal_objects_whatever_the_order_of_their_fields() -> None:
    assert seal({"a": 1, "b": 2}) == seal({"b": 2, "a": 1})
