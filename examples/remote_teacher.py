"""A teacher at an address: the student trains here, the teacher answers elsewhere.

    vllm serve Qwen/Qwen3.5-27B-FP8                            # there
    export OPENAI_API_KEY=none                                 # here; the key, if it wants one
    python examples/remote_teacher.py --teacher 'http://HOST:8000/v1#Qwen/Qwen3.5-27B-FP8'

Any server that speaks OpenAI's chat protocol will do. The part after # is the model's name there.

What to expect: before anything is loaded the address is asked for its models, so a wrong one ends
the run with one line. Then the teacher's draws are kept in the cache, so a second
run on the same questions asks for few. At the end a line for each purpose says how many texts of
the teacher the run used, and how many of its draws were right. Only the teacher's text comes back:
it stands in prompts, and no gradient needs its weights.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import zppo_core as zppo
from eval.pipeline import Trained


def main(arguments: Sequence[str] | None = None) -> Trained:
    """Train with a teacher behind an endpoint."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--teacher", required=True, help="http://HOST:PORT/v1#MODEL")
    reader.add_argument("--scale", default="nano", help="nano: the student runs on a CPU")
    reader.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    given = reader.parse_args(arguments)
    # not beforehand: nothing is asked of the teacher but what the steps need
    config = zppo.load_config(given.scale, ["teacher.prefill=0", *given.set])
    result = zppo.train(config, teacher=given.teacher, name="remote-teacher")
    with result.connect() as database:
        texts = database.execute(
            "SELECT purpose, count(*), avg(reward) FROM teacher_draws GROUP BY purpose"
        ).fetchall()
    for purpose, count, accuracy in texts:
        print(f"{purpose}: {count} texts of the teacher, mean reward {accuracy}")
    print(result.accuracy, result.checkpoint)
    return result


if __name__ == "__main__":
    main()
