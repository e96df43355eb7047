"""The prompt replay buffer against a list model (hypothesis), and its corners by hand."""

import collections
import json

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from zppo_core.algorithm.replay_buffer import PromptReplayBuffer

accuracies = st.integers(0, 8).map(lambda k: k / 8)
questions = st.integers(0, 15).map(lambda i: f"q{i}")


class BufferAgainstModel(RuleBasedStateMachine):
    """The model is a plain list of ids, oldest first."""

    @initialize(capacity=st.integers(0, 6), refresh=st.booleans())
    def start(self, capacity, refresh):
        self.refresh = refresh
        self.buffer = PromptReplayBuffer(capacity, 0.5, refresh)
        self.model: list[str] = []
        self.step = 0

    @rule(batch=st.dictionaries(questions, accuracies, max_size=8))
    def update(self, batch):
        before = set(self.model)
        events = self.buffer.update_all(batch, self.step)
        for q, a in batch.items():
            if a >= 0.5:
                if q in self.model:
                    self.model.remove(q)
            elif q not in self.model:
                self.model.append(q)
            elif self.refresh:
                self.model.remove(q)
                self.model.append(q)
        evicted = []
        while len(self.model) > self.buffer.capacity:
            evicted.append(self.model.pop(0))
        kinds = collections.defaultdict(set)
        for e in events:
            kinds[e.kind].add(e.question_id)
            assert e.step == self.step
        assert kinds["evict"] == set(evicted)
        assert kinds["graduate"] == {q for q, a in batch.items() if a >= 0.5 and q in before}
        assert kinds["admit"] == {q for q, a in batch.items() if a < 0.5 and q not in before}
        assert kinds["stay"] == {q for q, a in batch.items() if a < 0.5 and q in before}
        self.step += 1

    @rule(n=st.integers(0, 8), exclude=st.sets(questions, max_size=4), seed=st.integers(0, 99))
    def sample(self, n, exclude, seed):
        drawn = self.buffer.sample(n, np.random.default_rng(seed), exclude)
        free = [q for q in self.model if q not in exclude]
        assert len(drawn) == len(set(drawn)) == min(n, len(free))
        assert set(drawn) <= set(free)

    @rule()
    def round_trip(self):
        state = json.loads(json.dumps(self.buffer.state_dict()))
        other = PromptReplayBuffer(self.buffer.capacity, 0.5, self.refresh)
        other.load_state_dict(state)
        assert other.entries() == self.buffer.entries()
        self.buffer = other

    @invariant()
    def same_content_in_same_order(self):
        if hasattr(self, "buffer"):
            assert [e.question_id for e in self.buffer.entries()] == self.model
            assert len(self.buffer) <= self.buffer.capacity


TestBufferAgainstModel = BufferAgainstModel.TestCase
TestBufferAgainstModel.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


def test_threshold_itself_graduates():
    buffer = PromptReplayBuffer(10, threshold=0.5)
    buffer.update("a", 0.375, 0)
    assert "a" in buffer
    (event,) = buffer.update("a", 0.5, 3)
    assert (event.kind, event.entry_accuracy, event.entry_step, event.visits) == (
        "graduate",
        0.375,
        0,
        1,
    )
    assert "a" not in buffer


def test_sampling_is_uniform():
    buffer = PromptReplayBuffer(10)
    buffer.update_all({f"q{i}": 0.0 for i in range(6)}, 0)
    rng = np.random.default_rng(0)
    counts = collections.Counter(q for _ in range(6000) for q in buffer.sample(2, rng))
    assert set(counts) == {f"q{i}" for i in range(6)}
    # 6000 draws of 2 of 6: mean 2000, standard deviation 36.5
    assert all(abs(c - 2000) < 5 * 36.5 for c in counts.values())


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("capacity", PromptReplayBuffer(11)),
        ("threshold", PromptReplayBuffer(10, threshold=0.25)),
        ("refresh", PromptReplayBuffer(10, refresh=True)),
    ],
)
def test_state_of_another_configuration_is_refused(name, other):
    state = PromptReplayBuffer(10).state_dict()
    with pytest.raises(ValueError, match=f"buffer state has {name}="):
        other.load_state_dict(state)


def test_a_buffer_of_its_own_is_the_papers():
    buffer = PromptReplayBuffer(3)
    assert (buffer.threshold, buffer.refresh) == (0.5, False)
    buffer.update_all({"a": 0.0, "b": 0.0}, 0)
    buffer.update("a", 0.0, 1)  # it stays, and keeps its place
    assert [e.question_id for e in buffer.entries()] == ["a", "b"]
    assert buffer.entries()[0].visits == 1
    with pytest.raises(ValueError, match="capacity"):
        PromptReplayBuffer(-1)


def test_nothing_is_sampled_where_nothing_is_asked_for_or_left():
    buffer = PromptReplayBuffer(9)
    rng = np.random.default_rng(0)
    assert buffer.sample(3, rng) == []
    buffer.update_all({"a": 0.0, "b": 0.25}, 0)
    assert buffer.sample(0, rng) == buffer.sample(-1, rng) == []
    assert sorted(buffer.sample(5, rng)) == ["a", "b"]
    assert buffer.sample(5, rng, exclude=["a"]) == ["b"]
    assert buffer.sample(5, rng, exclude=["a", "b"]) == []


def test_what_is_evicted_is_told_with_todays_accuracy_if_it_was_asked():
    buffer = PromptReplayBuffer(1)
    buffer.update("a", 0.25, 0)
    events = buffer.update_all({"b": 0.0, "c": 0.125}, 1)
    gone = [e for e in events if e.kind == "evict"]
    assert [(e.question_id, e.entry_accuracy, e.step) for e in gone] == [
        ("a", 0.25, 1),
        ("b", 0.0, 1),
    ]
    assert np.isnan(gone[0].accuracy)
    assert gone[1].accuracy == 0.0
    assert [e.question_id for e in buffer.entries()] == ["c"]
