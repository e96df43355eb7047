"""The card of the `prepare_data` task: what the student will be asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape

from steps.cards.blocks import Tile, alarm_list, facts, head, heading, image_tags, table, tag, tiles
from steps.cards.evaluation import SMALL, short
from steps.cards.page import Card, put
from zppo_core.data.corpus import ListCorpus
from zppo_core.data.preview import Preview, Shown
from zppo_core.run.spec import Run
from zppo_core.types import Question

CALM = "Each gold answer that a rule grades earns the reward itself."
BINS = 8  # of lengths
SAMPLED = 500  # questions that are measured


@dataclass(frozen=True)
class Corpus:
    """A corpus as the card shows it: its questions counted, its first rows as they are asked."""

    questions: int
    pictures: int
    lengths: tuple[int, ...]  # of question texts [characters]
    digest: str
    source: str
    steps: int
    facts_of: Mapping[str, str]


def measured(questions: Iterable[Question]) -> tuple[int, tuple[int, ...]]:
    """How many questions have a picture, and the lengths of all their texts [characters]."""
    lengths, pictures = [], 0
    for question in questions:
        lengths.append(len(question.text))
        pictures += bool(question.images)
    return pictures, tuple(lengths)


def draw(card: Card, run: Run, questions: ListCorpus, preview: Preview, steps: int) -> None:
    """Put the card in place of what was there."""
    pictures, lengths = measured(
        questions[i] for i in questions.new_ids(0, min(len(questions), SAMPLED))
    )
    source, facts = run.config.data.source, {"store": f"{run.store_url}/{run.key}"}
    corpus = Corpus(len(questions), pictures, lengths, questions.digest(), source, steps, facts)
    put(card, *view(run.key, corpus, preview))


def view(name: str, corpus: Corpus, preview: Preview) -> list[str]:
    """Counts, lengths, what golds earn, and ten rows as the student sees them."""
    sentences = [
        f"{len(preview.unrewarded):,} of {preview.graded:,} gold answers do not earn the reward "
        f"themselves, so that nothing can; first {i}: {gold!r} ({why})."
        for i, gold, why in preview.unrewarded[:1]
    ]
    long = f"Characters, of {len(corpus.lengths):,} questions."
    return [
        head("Data", f"run {name}, {corpus.source}"),
        tiles(
            [
                Tile("questions", f"{corpus.questions:,}", f"{share_of(corpus)} with a picture"),
                Tile("rollout steps", f"{corpus.steps:,}", "planned"),
                Tile("kinds of answer", f"{len(preview.by_kind)}"),
                Tile("golds rewarded", share(preview), f"of {preview.graded:,} that rules grade"),
            ]
        ),
        alarm_list(sentences, CALM),
        '<div class="pair">',
        f"<div>{heading('Answers by kind', 'All questions.')}{bars(preview.by_kind)}</div>",
        f"<div>{heading('Length of a question', long)}{bars(histogram(corpus.lengths))}</div>",
        "</div>",
        heading("As the student sees them", f"{len(preview.shown)} rows in the order asked."),
        *[row(shown, i == 0) for i, shown in enumerate(preview.shown)],
        heading("Where it is"),
        facts({"digest": corpus.digest, **corpus.facts_of}, code=True),
    ]


def share_of(corpus: Corpus) -> str:
    """Questions with a picture, in percent of those that were measured."""
    return f"{100 * corpus.pictures / max(1, len(corpus.lengths)):.0f} %"


def share(preview: Preview) -> str:
    """Golds that earn the reward, in percent of those that a rule grades."""
    if not preview.graded:
        return "–"
    return f"{100 * (1 - len(preview.unrewarded) / preview.graded):.1f} %"


def histogram(lengths: Iterable[int]) -> dict[str, int]:
    """Counts by length, in at most `BINS` ranges of equal width."""
    values = list(lengths)
    if not values:
        return {}
    low, high = min(values), max(values)
    width = max(1, -(-(high - low + 1) // BINS))
    counted = Counter((v - low) // width for v in values)
    return {
        f"{low + i * width:,} to {low + (i + 1) * width - 1:,}": counted[i]
        for i in range(max(counted) + 1)
    }


def bars(counts: Mapping[str, int]) -> str:
    """Counts as a table with a bar for each."""
    most = max(counts.values(), default=1)
    return table(
        ["", "questions", ""],
        [
            [name, f"{n:,}", f'<div class="bar"><i style="width:{100 * n / most:.1f}%"></i></div>']
            for name, n in counts.items()
        ],
        raw=(2,),
    )


def row(shown: Shown, open_it: bool) -> str:
    """A question with its picture, its whole prompt, and what its gold earns."""
    question = shown.question
    earned = (
        tag("a judge decides")
        if shown.reward is None
        else tag(f"the gold earns {shown.reward:g}", shown.reward > 0)
    )
    images = image_tags([SMALL.scaled(i, small=True) for i in question.images])
    return (
        f'<details class="sample"{" open" if open_it else ""}><summary>{tag(shown.kind)}{earned}'
        f"<code>{escape(question.gold[:60])}</code>"
        f'<span class="lead">{escape(question.text[:160])}</span>'
        f'</summary><div class="inside">{images}<h3>Prompt</h3>'
        f"<pre>{escape(short(shown.prompt))}</pre></div></details>"
    )
