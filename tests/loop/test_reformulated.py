"""What stands in reformulated prompts, and who is asked them (section 2, 4 and 5)."""

import re
from collections import Counter

import numpy as np
from scripted_world import Watched, World, student_with, teacher_with
from story import G_T, blocks, route_of, summary_calls

from zppo_core.protocols import Sampling
from zppo_core.rewards.where import extract_boxed
from zppo_core.types import Prompt


def test_every_bcq_holds_one_right_draw_and_one_wrong_rollout_unlabelled(story) -> None:
    right_first, places = [], Counter()
    for told in story.steps:
        plain = {g.question_id: g for g in told.result.plain}
        for ask in (a for a in told.result.asks if a.kind == "bcq"):
            gold, group = story.world.corpus[ask.question_id].gold, plain[ask.question_id]
            pair = blocks(ask.prompt.text)
            assert len(pair) == 2
            boxes = [extract_boxed(text) for text in pair]
            right = boxes.index(gold)
            assert (right == 0) is ask.right_first
            right_first.append(ask.right_first)
            draws = told.result.teacher.draws[ask.question_id]
            routes = [route_of(d.draw.text) for d in draws]
            place = routes.index(route_of(pair[right]))
            assert draws[place].grade.reward == 1.0
            places[place, sum(d.grade.reward for d in draws)] += 1
            wrong = {
                route_of(c.text): c.text
                for c, g in zip(group.completions, group.grades, strict=True)
                if g.reward == 0.0
            }
            said = wrong[route_of(pair[1 - right])]
            assert boxes[1 - right] == extract_boxed(said) != gold
            # both are summaries of the teacher's, of one form
            assert all(
                re.fullmatch(r"short \d+ (\\boxed\{\d+\})?", text + " " * ("boxed" not in text))
                for text in pair
            )
            assert (ask.positive.text, [n.text for n in ask.negatives]) == (
                pair[right],
                [pair[1 - right]],
            )
    assert len(right_first) > 12
    assert 0.2 < np.mean(right_first) < 0.8
    assert len({place for place, _ in places}) == G_T  # never always the same one


def test_a_bcqs_wrong_rollout_is_drawn_afresh_and_has_a_box_where_one_has(story) -> None:
    places = Counter()
    for told in story.steps:
        plain = {g.question_id: g for g in told.result.plain}
        for ask in (a for a in told.result.asks if a.kind == "bcq"):
            group = plain[ask.question_id]
            wrong = [
                (route_of(c.text), g.answer)
                for c, g in zip(group.completions, group.grades, strict=True)
                if g.reward == 0.0
            ]
            taken = [r for r, _ in wrong].index(route_of(ask.negatives[0].text))
            assert (wrong[taken][1] is None) <= all(a is None for _, a in wrong)
            places[taken] += 1
    assert len(places) >= 3


def test_every_ncq_holds_all_wrong_rollouts_and_none_that_is_right(story) -> None:
    for told in story.steps:
        plain = {g.question_id: g for g in told.result.plain}
        for ask in (a for a in told.result.asks if a.kind == "ncq"):
            gold, group = story.world.corpus[ask.question_id].gold, plain[ask.question_id]
            wrong = [
                c.text
                for c, g in zip(group.completions, group.grades, strict=True)
                if g.reward == 0.0
            ]
            shown = blocks(ask.prompt.text)
            assert [route_of(t) for t in shown] == [route_of(t) for t in wrong]
            assert [extract_boxed(t) for t in shown] == [extract_boxed(t) for t in wrong]
            assert all(text.startswith("short") for text in shown)
            listed = re.findall(r"\\boxed\{(\d+)\}", ask.prompt.text.split("<candidate>\n")[0])
            assert listed == list(dict.fromkeys(b for b in map(extract_boxed, wrong) if b))
            assert rf"\boxed{{{gold}}}" not in ask.prompt.text
            assert (ask.positive, ask.right_first) == (None, None)
            assert [n.text for n in ask.negatives] == shown


def test_a_reformulated_prompt_is_the_question_its_candidates_and_the_closer(story) -> None:
    for told in story.steps:
        for ask in told.result.asks:
            question = story.world.corpus[ask.question_id]
            text = ask.prompt.text
            assert text.startswith(f"{question.text}\n")
            assert text.endswith(f"\n{story.world.templates.closer}")
            assert ask.prompt == Prompt(text, question.images, True)
            for word in ("SENTINEL", "student", "teacher", "thinks", "Right:", "gold"):
                assert word not in text


def test_each_shown_response_is_summarised_once_a_step(story) -> None:
    for told in story.steps:
        bodies = [
            p.text.split("<response>")[-1] for c in summary_calls(told) for p in c.prompts
        ]  # the example in the instruction comes first
        shown = {route_of(t) for a in told.result.asks for t in blocks(a.prompt.text)}
        assert Counter(route_of(b) for b in bodies) == Counter(shown)
        for call in summary_calls(told):
            assert call.sampling == Sampling(200 + 32, 1, 0.0)
            assert not any(p.thinking or p.images for p in call.prompts)


def test_reformulated_prompts_are_asked_of_the_student_as_they_are(story) -> None:
    for told in story.steps:
        asks, groups = told.result.asks, told.result.augmented
        assert [(a.question_id, a.kind) for a in asks] == list(told.result.teacher.plan)
        assert [(g.question_id, g.kind) for g in groups] == list(told.result.teacher.plan)
        assert [g.prompt for g in groups] == [a.prompt for a in asks]
        if asks:
            assert list(told.student[1].prompts) == [a.prompt for a in asks]


def test_a_summary_that_failed_is_tried_again_with_a_seed_of_step_and_run(tmp_path) -> None:
    """The same responses come at every visit of a question; what is sampled again is other."""
    seen: dict[tuple[str, str], set[int]] = {}
    count = 0
    for seed in (0, 1):
        world = World(
            tmp_path / str(seed),
            student_with(lambda prompt, member: False),
            Watched(lambda prompt, member: r"no tag \boxed{1}", "teacher"),
            **{"run.seed": seed, "rollout.new_prompts": 12, "reformulation.ratio": 1.0},
        )
        for _ in range(2):
            asks = world.step().asks
            assert all(n.fallback and n.attempts == 2 for a in asks for n in a.negatives)
        for call in world.teacher.calls:
            if "<response>" in call.prompts[0].text and call.sampling.temperature > 0:
                assert call.sampling == Sampling(200 + 32, 1, 1.0)
                for prompt, own in zip(call.prompts, call.seeds, strict=True):
                    seen.setdefault(prompt.text, set()).add(own)
                    count += 1
    assert len(seen) > 10
    assert sum(map(len, seen.values())) == count  # no seed twice
    assert all(len(seeds) == 4 for seeds in seen.values())


def test_which_candidates_stand_where_is_drawn_for_each_question_step_and_run(tmp_path) -> None:
    """All questions at every step, all draws right, all rollouts wrong: nothing else differs."""
    drawn: dict[tuple[int, int], list[tuple[int, int, bool]]] = {}
    for seed in (0, 1, 0):
        world = World(
            tmp_path / f"{seed}{len(drawn)}",
            student_with(lambda prompt, member: False),
            teacher_with(lambda prompt, member: True),
            method="grpo_replay_bcq",
            **{"run.seed": seed, "rollout.new_prompts": 12, "reformulation.ratio": 1.0},
        )
        for step in range(3):
            result = world.step()
            groups = {g.question_id: g for g in result.plain}
            choices = {}
            for ask in result.asks:
                draws = result.teacher.draws[ask.question_id]
                rights = [route_of(d.draw.text) for d in draws]
                wrongs = [route_of(c.text) for c in groups[ask.question_id].completions]
                choices[ask.question_id] = (
                    rights.index(route_of(ask.positive.text)),
                    wrongs.index(route_of(ask.negatives[0].text)),
                    ask.right_first,
                )
            assert len(choices) == 12
            made = [choices[q] for q in sorted(choices)]
            assert drawn.setdefault((seed, step), made) == made  # the same run again
            assert len(set(made)) > 3  # not the same for all questions
    assert len({tuple(made) for made in drawn.values()}) == 6
