"""Text maths with a model of the Hub.

    python examples/text_maths.py                                  # one GPU of 80 GB
    python examples/text_maths.py --questions my_problems.jsonl    # columns question and answer
    python examples/text_maths.py --scale nano --student nano:student --teacher nano:teacher

What to expect: the first run fetches the models, then trains on the sums that are made here, or on
your file. A solution may be the answer column: what stands in \\boxed{} or after #### is taken.
At the end a line for each family of benchmarks, and the folder of the student, which
`zppo chat` and transformers read. The third line needs neither a GPU nor the Hub; its student was
taught to read digits, so it learns little about sums. The first two lines have not been tried on a
GPU.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import zppo_core as zppo
from eval.pipeline import Trained
from zppo_core.streams import stream


def sums(count: int) -> list[dict[str, str]]:
    """Questions with worked answers, as tables of maths have them."""
    rows = []
    for i in range(count):
        a, b = stream(0, "sums", i).integers(10, 100, 2).tolist()
        question = f"A box holds {a} nails and another {b}. How many are there?"
        rows.append({"question": question, "answer": f"{a} + {b} is {a + b}.\n#### {a + b}"})
    return rows


def main(arguments: Sequence[str] | None = None) -> Trained:
    """Train on text alone, and print what was gained."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--scale", default="0.8B@one-gpu")
    reader.add_argument("--student", default="Qwen/Qwen3.5-0.8B")
    reader.add_argument("--teacher", default="Qwen/Qwen3.5-27B-FP8")
    reader.add_argument("--questions", help="a file, folder, S3 prefix or Hub id")
    reader.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    given = reader.parse_args(arguments)
    nano = given.scale.partition("@")[0] == "nano"
    usual = [] if nano else ["run.rollout_steps=40", "evaluation.suite=AIME25,AIME26"]
    result = zppo.train(
        zppo.load_config(given.scale, [*usual, *given.set]),
        questions=given.questions or sums(2000),
        student=given.student,
        teacher=given.teacher,
        name="text-maths",
    )
    for family, scores in result.accuracy.items():
        print(f"{family}: {scores['base']} % before, {scores['student']} % after")
    print(result.checkpoint)
    return result


if __name__ == "__main__":
    main()
