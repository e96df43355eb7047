"""Lists and tables of a configuration: TOML's own, and the text that they were once."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.settings import Settings, parse
from zppo_core.config import Config, from_dict, load
from zppo_core.config.fields import as_text, list_of, settings_of, settings_text, table_of
from zppo_core.config.overrides import split_overrides
from zppo_core.errors import UserError

PLAIN = st.text("abcXYZ019_-./ äß", min_size=1, max_size=8).map(str.strip).filter(bool)
TABLES = st.dictionaries(PLAIN, PLAIN, max_size=4)


@pytest.mark.parametrize(
    ("field", "texts", "value"),
    [
        ("optimizer.betas", ["[0.8, 0.9]", "0.8,0.9", "0.8, 0.9"], (0.8, 0.9)),
        ("data.more_configs", ["{a = 2, b = 1}", "a=2,b=1", " a=2 , b=1 "], {"a": 2, "b": 1}),
        ("data.columns", ['{question = "q"}', "question=q"], {"question": "q"}),
        ("evaluation.suite", ['["MMLU", "AI2D"]', "MMLU,AI2D"], "MMLU,AI2D"),
    ],
)
def test_an_override_takes_a_list_or_table_of_toml_and_the_old_text(field, texts, value) -> None:
    section, _, name = field.partition(".")
    for text in texts:
        assert getattr(getattr(load("nano", [f"{field}={text}"]), section), name) == value


def test_several_teachers_are_a_list_and_the_old_text_of_them_reads() -> None:
    method = "run.method=zppo_teachers"
    for text in ('["nano:student", "org/b"]', "nano:student, org/b"):
        teachers = load("nano", [method, f"teacher.more_models={text}"]).teacher.more_models
        assert teachers == ("nano:student", "org/b")


def test_settings_of_an_evaluation_are_a_table_and_read_like_their_text() -> None:
    table = {"frames": 16, "judge_unparsed": False, "totals": {"DynaM": "pooled", "WeMath": "s"}}
    text = "frames=16;judge_unparsed=false;totals=DynaM=pooled,WeMath=s"
    assert (
        parse(table) == parse(text) == Settings(16, judge_unparsed=False, totals=parse(text).totals)
    )
    named = [load("nano", {"evaluation.settings": given}) for given in (table, text)]
    assert named[0].to_json() == named[1].to_json()
    assert named[0].to_dict()["evaluation"]["settings"] == text
    with pytest.raises(UserError) as fault:
        parse({"frames": 0, "frame": 2, "subtitles": "none"})
    assert len(str(fault.value).splitlines()) == 3
    assert "did you mean evaluation.settings.frames?" in str(fault.value)


@given(TABLES, st.lists(PLAIN, max_size=4))
def test_what_is_stored_as_text_reads_back(table: dict[str, str], names: list[str]) -> None:
    assert table_of(as_text(table)) == table
    assert list_of(as_text(names)) == names
    assert settings_of(settings_text(table)) == table


@given(TABLES, st.lists(PLAIN, max_size=3))
def test_a_stored_configuration_is_the_same_again_to_the_byte(table, names) -> None:
    values = {
        "run": {"method": "zppo_teachers" if names else "zppo"},
        "teacher": {"more_models": names},
        "data": {"more_configs": {f"x{k}": 2 for k in table if "-" not in k}},
        "evaluation": {"settings": table},
    }
    config = from_dict(values)
    again = from_dict(json.loads(config.to_json()))
    assert again.to_json() == config.to_json()
    assert again.teacher == config.teacher


def test_stored_text_is_what_it_was_before_there_were_tables() -> None:
    values = Config().to_dict()
    assert values["data"]["columns"] == values["data"]["more_configs"] == ""
    assert values["teacher"]["more_models"] == values["evaluation"]["settings"] == ""
    stored = load("nano", {"data.more_configs": {"a": 2, "b": 1}}).to_dict()
    assert stored["data"]["more_configs"] == "a=2,b=1"


def test_an_address_with_a_secret_is_refused_and_not_quoted():
    for address in ("http://me:hunter2@there/v1", "http://there/v1?api_key=hunter2"):
        with pytest.raises(UserError, match="password or key") as told:
            load("nano", [f"teacher.endpoint={address}"])
        assert "hunter2" not in str(told.value)
    load("nano", ["teacher.endpoint=http://there:8000/v1?model=key"])


def test_a_name_that_comes_twice_in_a_table_is_refused():
    with pytest.raises(UserError, match="comes twice"):
        load("nano", ["data.columns=question=a,question=b"])


def test_a_method_is_found_as_papers_write_it():
    assert load("nano", ["run.method=GRPO"]).run.method == "grpo"


def test_settings_keep_their_own_semicolons():
    given = "evaluation.settings=frames=16;totals=DynaM=pooled;run.seed=3"
    assert split_overrides(given) == (
        "evaluation.settings=frames=16;totals=DynaM=pooled",
        "run.seed=3",
    )
