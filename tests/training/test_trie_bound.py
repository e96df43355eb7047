"""The bound on an update's tokens: what sequences begin alike with counts once."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import world

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import bench_trie


def test_what_sequences_begin_alike_with_counts_once() -> None:
    assert bench_trie.trie_tokens([[1, 2, 3], [1, 2, 4], [1, 2], [5, 2, 3]]) == 7
    assert bench_trie.trie_tokens([]) == 0


def test_prompts_of_one_question_share_their_head_and_others_their_template_alone() -> None:
    asked = world.prompts(2, 0, 0)
    asked += [replace(asked[0], text=f"{asked[0].text} A candidate answer follows.")]
    plain, other, more = world.groups(asked, [1, 1, 1], lengths=(3, 4))
    alone = bench_trie.counted([plain])
    assert alone["packed"] == alone["trie of all"] == plain.prompt.length - 1 + 3

    def saved(*groups) -> int:
        counts = bench_trie.counted(groups)
        return counts["packed"] - counts["trie of prompts"]

    ids, longer = plain.prompt.input_ids_P, more.prompt.input_ids_P
    assert saved(plain, more) == np.argmin(longer[: len(ids)] == ids) > 20
    # pictures of one size have the same tokens, and are not the same
    assert saved(plain, other) < 5


def test_a_minibatch_holds_a_third_of_the_heads_twice() -> None:
    """Three groups in four mini-batches: 4 (1 - (3/4)^3) of them hold the question."""
    draws = [bench_trie.heads_saved(np.random.default_rng(s), 576) for s in range(300)]
    assert abs(np.mean(draws) / 48 - (3 - 4 * (1 - 0.75**3))) < 0.02
