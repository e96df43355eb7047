"""Real engines side by side sample what they sample one after the other."""

from zppo_core.config import load
from zppo_core.run.loop import one_step
from zppo_core.run.session import open_session
from zppo_core.run.setup import open_run
from zppo_core.store.objects import open_store


def test_real_engines_side_by_side_sample_the_same_tokens(tmp_path) -> None:
    found = []
    for n in (1, 3):
        folder = tmp_path / str(n)
        sets = [
            f"store.root={folder}/runs",
            f"store.cache={folder}/cache",
            "teacher.scope=hard",
            f"compute.overlap={n}",
            "rollout.new_prompts=12",
            "data.train_questions=120",
        ]
        config = load("nano", sets)
        run = open_run(config, "test")
        world = open_session(
            config,
            open_store(f"{folder}/cache"),
            lambda phase: lambda done, total: None,
        )
        results = [one_step(world, run)[0] for _ in range(2)]
        found.append(
            [
                [c.token_ids_T.tolist() for g in (*r.plain, *r.augmented) for c in g.completions]
                + [d.draw.text for own in r.teacher.draws.values() for d in own]
                for r in results
            ]
        )
    assert found[0] == found[1]
