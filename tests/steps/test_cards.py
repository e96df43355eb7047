import html.parser

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from steps.cards.blocks import image_tags, line_chart, media_type, safe_text
from steps.cards.epoch import transcript
from zppo_core.data.corpus import ListCorpus
from zppo_core.data.digits import train_questions
from zppo_core.types import Completion, Grade, Group, Prompt

ATTACKS = [
    "<script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "</div><iframe src=javascript:alert(1)>",
    "[click](javascript:alert(1))",
    "![x](http://evil/track.png)",
    "```\n<b>\n```",
    "&lt;script&gt;",
]


class Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)

    def handle_data(self, data) -> None:
        self.text += data


def rendered(markdown: str) -> Tags:
    """As the card's page shows it: Markdown, then HTML."""
    parser = Tags()
    parser.feed(markdown)
    parser.close()
    return parser


@given(st.one_of(st.text(), st.sampled_from(ATTACKS)))
@settings(max_examples=200, deadline=None)
def test_model_text_is_shown_as_it_is_and_acts_as_nothing(text: str) -> None:
    shown = safe_text(text)
    page = rendered(shown)
    assert page.tags == ["div"]
    inside = shown[shown.index(">") + 1 : -len("</div>")]
    assert not set(inside) & set("<>`*_[]()!|\n")
    clean = text.replace("\r", "")
    if "\0" not in text and clean == text and text.isascii():
        assert page.text == text


def test_a_transcript_escapes_prompt_response_and_gold() -> None:
    question = train_questions(6, 0)[0]
    corpus = ListCorpus([question], 0)
    attack = ATTACKS[0]
    completion = Completion(attack, np.array([1]), np.array([-1.0]), "stop", 0)
    prompt = Prompt(attack, question.images)
    group = Group("u", question.id, "bcq", prompt, (completion,), (Grade(0.0, "no_box"),))
    shown = transcript(group, corpus)
    page = rendered(shown)
    assert "script" not in page.tags
    assert page.tags.count("img") == len(question.images)


def test_images_are_inlined_with_their_own_type() -> None:
    image = train_questions(6, 0)[0].images[0]
    assert media_type(image) == "image/png"
    assert image_tags([image]).startswith("<img ")
    assert image_tags([]) == ""


def test_a_series_keeps_its_colour_whatever_else_is_shown() -> None:
    rows = [{"step": 0, "accuracy": 0.5, "kind": k} for k in ("bcq", "plain")]
    both = line_chart(rows, "step", "accuracy", "kind", "t", "y")["encoding"]["color"]["scale"]
    one = line_chart(rows[:1], "step", "accuracy", "kind", "t", "y")["encoding"]["color"]["scale"]
    assert dict(zip(both["domain"], both["range"], strict=True))["bcq"] == one["range"][0]
