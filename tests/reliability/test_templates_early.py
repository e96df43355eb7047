"""A template of the user's own is tried before anything is spent on prompts."""

from __future__ import annotations

from pathlib import Path

import pytest

from zppo_core.config import load
from zppo_core.errors import UserError
from zppo_core.prompts import TEMPLATES, Templates
from zppo_core.run.preflight import check_own

PARTS = "{{ question }}\n{% for c in candidates %}<candidate>{{ c }}</candidate>{% endfor %}"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("bcq", "{{ question }}\n{% for c in candidates %}\n{{ c }}", r"bcq\.jinja, line 3"),
        ("ncq", "{{ question }}\n{{ candidate }}", r"ncq\.jinja, line 2: 'candidate' is undefined"),
        ("judge", "{{ question }}\n\n{{ gold.nothing.at_all }}", r"judge\.jinja, line 3"),
        ("bcq", "{% for i in range(10**9) %}x{% endfor %}", r"bcq\.jinja, line 1: .*[Rr]ange"),
        ("bcq", "{{ ''.__class__.__mro__[1].__subclasses__() }}", r"bcq\.jinja, line 1: .*unsafe"),
        ("hint", "{% include 'other.jinja' %}", r"hint\.jinja, line 1"),
        ("compress", "{{ 1 // 0 }}", r"compress\.jinja, line 1"),
        ("compress", "Shorten it.", r"compress\.jinja: leaves out 'Two"),
        ("bcq", "{{ candidates }}", r"bcq\.jinja: leaves out 'How many"),
        ("closer", "  \n", r"closer\.jinja: it is empty"),
    ],
)
def test_a_faulty_template_is_one_line_at_preflight(
    tmp_path: Path, name: str, text: str, says: str
) -> None:
    (tmp_path / f"{name}.jinja").write_text(text)
    with pytest.raises(UserError, match=says) as caught:
        check_own(load("nano", [f"data.prompts={tmp_path}"]))
    assert len(str(caught.value).splitlines()) == 1


def test_a_template_in_another_encoding_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "ncq.jinja").write_bytes("{{ question }} für".encode("latin-1"))
    with pytest.raises(UserError, match=r"ncq\.jinja: .*save it as UTF-8"):
        check_own(load("nano", [f"data.prompts={tmp_path}"]))


def test_sound_templates_pass(tmp_path: Path) -> None:
    (tmp_path / "bcq.jinja").write_text(f"Which one?\n{PARTS}\n{{{{ closer }}}}")
    check_own(load("nano", [f"data.prompts={tmp_path}"]))
    Templates().check()
    assert {f.stem for f in Path("zppo_core/prompts").glob("*.jinja")} <= set(TEMPLATES)
