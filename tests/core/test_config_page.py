"""The page on a configuration of one's own: its file is read, and its words are those said."""

import re
from pathlib import Path

import pytest

from zppo_core.config import Source
from zppo_core.config.load import resolved
from zppo_core.errors import UserError

PAGE = (Path(__file__).parents[2] / "docs" / "customise.md").read_text(encoding="utf-8")


def test_the_file_of_the_page_is_a_configuration() -> None:
    (text,) = re.findall(r"```toml\n# my\.toml\n(.*?)```", PAGE, re.DOTALL)
    config = resolved("", (), Source("my.toml", text)).config
    assert (config.scale, config.compute.student_gpus) == ("4B", 1)
    assert config.optimizer.betas == (0.9, 0.99)
    assert config.data.columns == {"question": "problem", "answer": "solution"}
    assert config.evaluation.suite == "MMLU-Pro,AI2D"


def test_the_faults_of_the_page_are_said_in_its_words() -> None:
    with pytest.raises(UserError) as fault:
        resolved("", (), Source("my.toml", "[optimizer]\nlr = 2\nbeta = 1"))
    for line in str(fault.value).splitlines():
        assert f"zppo: {line}\n" in PAGE
