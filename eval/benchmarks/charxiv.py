"""CharXiv: four descriptive questions and one reasoning question on each chart."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings

DESCRIPTIVE = Template(
    "charxiv",
    """{# Stripped upstream: "your final answer ... to the question itself, in short". Kept, for it changes
   the answer: the rules on Not Applicable, on shared axes and on decimals. #}
{% set missing = "If there is none, answer Not Applicable." %}
{% set tick_x = "Only ticks that are explicitly labelled count, also those of an axis shared with other plots. If the plot has two x-axes, take the bottom one. Ignore units and scale factors that are written apart from the tick." %}
{% set tick_y = "Only ticks that are explicitly labelled count, also those of an axis shared with other plots. If the plot has two y-axes, take the left one. Ignore units and scale factors that are written apart from the tick." %}
{% set lines = "Grid lines, ticks and auxiliary lines do not count. If the plot is no line plot, answer Not Applicable." %}
{% set legend = "Count only labels that belong to this plot, even if the legend stands outside of it." %}
{% set asked = {
  1: "what is its title? Take only what is explicitly written. If there is no title, or only a letter that names the plot, answer Not Applicable.",
  2: "what is the label of the x-axis? Take only what is explicitly written, also on an axis shared with other plots. If there are two x-axes, take the bottom one. " ~ missing,
  3: "what is the label of the y-axis? Take only what is explicitly written, also on an axis shared with other plots. If there are two y-axes, take the left one. " ~ missing,
  4: "what is the leftmost labelled tick on the x-axis? " ~ tick_x,
  5: "what is the rightmost labelled tick on the x-axis? " ~ tick_x,
  6: "what is the spatially lowest labelled tick on the y-axis? " ~ tick_y,
  7: "what is the spatially highest labelled tick on the y-axis? " ~ tick_y,
  8: "what is the difference between consecutive numerical tick values on the x-axis? " ~ tick_x ~ " If the ticks are not numerical, missing, or not at a constant difference, answer Not Applicable.",
  9: "what is the difference between consecutive numerical tick values on the y-axis? " ~ tick_y ~ " If the ticks are not numerical, missing, or not at a constant difference, answer Not Applicable.",
  10: "how many lines are there? " ~ lines,
  11: "do any lines intersect? Answer Yes or No. " ~ lines,
  12: "how many discrete labels are there in the legend? " ~ legend ~ " If there is no legend, answer Not Applicable.",
  13: "what are the names of the labels in the legend? " ~ legend ~ " Write them from top to bottom, then from left to right, separated by commas. If there is no legend, answer Not Applicable.",
  14: "what is the difference between the maximum and the minimum tick label of the continuous legend (colour bar)? Leave out a percent sign. If there is no colour bar, answer Not Applicable.",
  15: "what is the maximum tick label of the continuous legend (colour bar)? Leave out a percent sign. If there is no colour bar, answer Not Applicable.",
  16: "what is the general trend of the data from left to right? Answer in a few words, like: increases, then stabilizes.",
  17: "what is the number of explicitly labelled ticks over all axes? Ticks of axes shared with other plots count.",
} %}
{% if number == 18 %}
What is the layout of the subplots? Answer n by m, with n rows and m columns. If there are no subplots, answer 1 by 1.
{% elif number == 19 %}
How many subplots are there? If there are no subplots, answer 1.
{% else %}
{{ prefix }}{{ asked[number] }}
{% endif %}
""",  # noqa: E501
)
REASONING = Template(
    "charxiv_reasoning",
    """{# Stripped upstream: "answer in as few words as possible". Kept: what decides the form of the answer. #}
{{ question }}
{% if answer_type == 1 %}
Answer with text that is explicitly written in the chart; separate several terms by commas and give full names unless the question asks otherwise.
{% elif answer_type == 2 %}
If the question offers options, answer with one of them; otherwise with a short phrase.
{% elif answer_type == 3 %}
Answer with a number that is explicitly written in the chart, even if it stands inside other text.
{% elif decimals == 0 %}
Answer with an exact whole number.
{% else %}
Answer with a number of exactly {{ decimals }} decimal place{{ "" if decimals == 1 else "s" }}.
{% endif %}
""",  # noqa: E501
)

COLUMNS = (
    "image",
    "subplot_row",
    "subplot_col",
    "subplot_loc",
    "reasoning_q",
    "reasoning_a",
    "reasoning_a_type",
    *(f"descriptive_{part}{i}" for part in "qa" for i in range(1, 5)),
)

LEGEND = 13  # the template that asks for the labels of the legend


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> list[Sample]:
        asked = [_descriptive(row, i, settings) for i in range(1, 5)]
        return [*asked, _reasoning(row, settings)]

    return read_rows(source, COLUMNS, read)


def prefix(row: Row) -> str:
    """Which plot of the figure a descriptive question is about."""
    if isinstance(row["subplot_loc"], str) and row["subplot_loc"]:
        return f"For {row['subplot_loc']}, "
    if int(row["subplot_row"]) == 0:
        return "For the current plot, "
    return f"For the subplot at row {row['subplot_row']} and column {row['subplot_col']}, "


def _descriptive(row: Row, i: int, settings: Settings) -> Sample:
    number = int(row[f"descriptive_q{i}"])
    if not 1 <= number <= 19:
        raise ValueError(f"no descriptive question {number}")
    text = ask(DESCRIPTIVE, settings, number=number, prefix=prefix(row))
    bare = ask(DESCRIPTIVE, settings, number=number, prefix="").partition("?")[0]
    # the one rule that the judge has to know, for it marks the order
    order = ", from top to bottom, then left to right" if number == LEGEND else ""
    extra = {"number": number, "question": f"{bare}{order}?"}
    return Sample(
        f"descriptive/{row.index}-{i}",
        text,
        str(row[f"descriptive_a{i}"]),
        (row.picture(),),
        extra=extra,
        judge="charxiv_descriptive",
    )


def _reasoning(row: Row, settings: Settings) -> Sample:
    kind, gold = int(row["reasoning_a_type"]), str(row["reasoning_a"])
    decimals = len(gold.partition(".")[2].strip())
    text = ask(
        REASONING,
        settings,
        question=row["reasoning_q"],
        answer_type=kind,
        decimals=decimals,
    )
    extra = {"answer_type": kind, "question": row["reasoning_q"]}
    return Sample(f"reasoning/{row.index}", text, gold, (row.picture(),), extra=extra)


BENCHMARK = Benchmark(
    "CharXiv",
    "VLM",
    "princeton-nlp/CharXiv",
    "validation",
    5000,
    "charxiv_reasoning",
    task="charxiv",
    cluster="image",
    licence="CC BY-SA 4.0",
    kind="judge",
    totals=("pooled", "mean_of_groups", "only:reasoning", "only:descriptive"),
    headline=("only:reasoning", "only:descriptive"),
    revision="f441eb632fc62f6f777830a0f47619e6e86459b0",
    prompts=(
        DESCRIPTIVE,
        REASONING,
    ),
    samples=samples,
)
