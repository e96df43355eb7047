"""The gold answer earns its own reward; a change of dress keeps it; a change of value loses it."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from zppo_core.rewards.grader import _grader
from zppo_core.rewards.moments import read_time
from zppo_core.rewards.numbers import read_number
from zppo_core.rewards.words import boolean

GRADER = _grader()
UNITS = ("cm", "kg", "m/s", "apples", "minutes", "°C", "mL", "people", "km")
WORDS = st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=9).filter(
    lambda w: (
        w not in ("and", "not", "the")
        and not set(w) <= set("uvwxyz")  # a product of variables
        and all(read(w) is None for read in (read_number, read_time, boolean))
    )
)


integers = st.integers(-(10**9), 10**9).map(str)
decimals = st.decimals(-(10**5), 10**5, places=3, allow_nan=False).map(lambda d: f"{d:.3f}")
fractions = st.tuples(st.integers(-999, 999), st.integers(2, 999)).map(
    lambda t: rf"\frac{{{t[0]}}}{{{t[1]}}}"
)
quantities = st.tuples(st.integers(2, 10**6), st.sampled_from(UNITS)).map(
    lambda t: f"{t[0]} {t[1]}"
)
money = st.integers(1, 10**6).map(lambda n: f"${n}")
percents = st.integers(1, 999).map(lambda n: f"{n}%")
ranges = st.tuples(st.integers(0, 999), st.integers(1, 99)).map(lambda t: f"{t[0]}-{t[0] + t[1]}")
times = st.tuples(st.integers(1, 12), st.integers(0, 59), st.sampled_from(["AM", "PM"])).map(
    lambda t: f"{t[0]}:{t[1]:02d} {t[2]}"
)
dates = st.dates().filter(lambda d: d.year > 1000).map(str)
letters = st.sampled_from("ABCDE")
tuples = st.lists(st.integers(-99, 99), min_size=2, max_size=4).map(
    lambda xs: "(" + ", ".join(map(str, xs)) + ")"
)
lists = st.lists(st.integers(-99, 99), min_size=2, max_size=5).map(
    lambda xs: ", ".join(map(str, xs))
)
polynomials = st.lists(st.integers(1, 20), min_size=3, max_size=3).map(
    lambda c: f"{c[0]}x^2+{c[1]}x+{c[2]}"
)
golds = st.one_of(
    integers,
    decimals,
    fractions,
    quantities,
    money,
    percents,
    ranges,
    times,
    dates,
    letters,
    tuples,
    lists,
    polynomials,
    WORDS,
    st.text(max_size=30),
)


def rewards(answers: list[str], gold: str) -> list[float]:
    return [g.reward for g in GRADER.agree_many([(a, gold) for a in answers])]


@given(golds)
@settings(max_examples=600, deadline=None)
def test_the_gold_answer_earns_its_own_reward(gold: str) -> None:
    assert rewards([gold], gold) == [1.0]


DRESSES = (
    r"\text{{{}}}",
    "**{}**",
    "${}$",
    r"\mathrm{{{}}}",
    r"\({}\)",
    " {} ",
    "{}.",
    r"\boxed{{{}}}",
    "The answer is {}",
    r"\textbf{{{}}}",
    r"\displaystyle {}",
    "_{}_",
    r"\therefore {}",
    r"\left.{}\right.",
)


@given(
    st.one_of(
        integers,
        decimals,
        fractions,
        quantities,
        percents,
        ranges,
        times,
        dates,
        letters,
        tuples,
        lists,
        polynomials,
        WORDS,
    ),
    st.sampled_from(DRESSES),
)
@settings(max_examples=800, deadline=None)
def test_a_change_of_dress_never_changes_the_reward(gold: str, dress: str) -> None:
    assert rewards([dress.format(gold)], gold) == [1.0]


@given(st.one_of(integers, decimals, quantities, percents, ranges, times, dates, tuples, lists))
@settings(max_examples=300, deadline=None)
def test_typography_is_dress_too(gold: str) -> None:
    wide = gold.translate({48 + i: 0xFF10 + i for i in range(10)})
    assert rewards([wide, gold.replace("-", "−"), gold.replace(", ", "，")], gold) == [1.0] * 3


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**6))
@settings(max_examples=200, deadline=None)
def test_a_number_has_many_spellings_and_each_is_right(top: int, bottom: int) -> None:
    value = Fraction(top, bottom)
    twice = rf"x = \frac{{{2 * top}}}{{{2 * bottom}}}"
    same = [f"{top}/{bottom}", rf"\dfrac{{{top}}}{{{bottom}}}", twice]
    assert rewards(same, rf"\frac{{{value.numerator}}}{{{value.denominator}}}") == [1.0] * 3
    assert rewards([f"{top:,}", rf"{top}.0", f"{top}+0", f"x={top}"], str(top)) == [1.0] * 4


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**6))
@settings(max_examples=200, deadline=None)
def test_another_number_is_wrong(value: int, step: int) -> None:
    other = value + step
    wrong = [f"{other}", f"{other} cm", f"x={other}", rf"\frac{{{other}}}{{1}}", f"{value}.5"]
    wrong += [rf"\neq {value}", f"{value}, {other}", f"{value} or {other}"]
    wrong += [f"{value}-{other}"] if other else []  # nothing taken away is no other number
    wrong += [rf"{value}\text{{ million}}"] if value else []
    assert rewards(wrong, str(value)) == [0.0] * len(wrong)


@given(st.decimals(1, 10**5, places=3), st.integers(1, 10**4))
@settings(max_examples=200, deadline=None)
def test_another_decimal_is_wrong(value, step: int) -> None:
    thousandths = int(value * 1000) + step
    other = f"{thousandths // 1000}.{thousandths % 1000:03d}"
    assert rewards([other, f"-{value:.3f}"], f"{value:.3f}") == [0.0, 0.0]


@given(st.integers(1, 10**6), st.sampled_from(UNITS), st.sampled_from(UNITS))
@settings(max_examples=200, deadline=None)
def test_another_unit_is_wrong(number: int, unit: str, other: str) -> None:
    assert rewards([f"{number} {other}"], f"{number} {unit}") == [float(unit == other)]


@given(st.integers(0, 999), st.integers(1, 99), st.integers(1, 99))
@settings(max_examples=200, deadline=None)
def test_a_range_is_no_difference(low: int, width: int, shift: int) -> None:
    gold = f"{low}-{low + width}"
    moved = f"{low + shift}-{low + width + shift}"
    assert rewards([moved, str(-width), f"{low + width}-{low}", str(low)], gold) == [0.0] * 4
    assert rewards([f"{low} to {low + width}", f"[{low}, {low + width}]"], gold) == [1.0, 1.0]


@given(st.dates().filter(lambda d: d.year > 1000), st.dates().filter(lambda d: d.year > 1000))
@settings(max_examples=200, deadline=None)
def test_a_date_is_no_difference(day, other) -> None:
    difference = str(day.year - day.month - day.day)
    spelt = f"{day:%B} {day.day}, {day.year}"
    right = [1.0, float(day == other), 0.0]
    assert rewards([spelt, str(other), difference], str(day)) == right


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=5), st.randoms())
@settings(max_examples=200, deadline=None)
def test_order_counts_in_a_tuple_and_not_in_a_list(members: list[int], rng) -> None:
    shuffled = rng.sample(members, len(members))
    text, mixed = (", ".join(map(str, xs)) for xs in (members, shuffled))
    assert rewards([mixed, rf"\{{{mixed}\}}"], text) == [1.0, 1.0]
    assert rewards([f"({mixed})"], f"({text})") == [float(members == shuffled)]
    more = ", ".join(map(str, [*shuffled, 99]))
    assert rewards([more, f"({more})", ", ".join(map(str, shuffled[1:]))], text) == [0.0] * 3


@given(WORDS, st.randoms())
@settings(max_examples=200, deadline=None)
def test_the_letters_of_a_word_have_an_order(word: str, rng) -> None:
    mixed = "".join(rng.sample(word, len(word)))
    assert rewards([word.title(), word.upper(), f"the {word}"], word) == [1.0] * 3
    assert rewards([mixed, f"not {word}", word + "x"], word) == [float(mixed == word), 0.0, 0.0]


SHORT = st.sampled_from(["ice", "fog", "red", "bag", "sun", "hat", "ox", "tea"])


@given(st.lists(SHORT, min_size=2, max_size=3, unique=True), st.sampled_from(" -"), st.randoms())
@settings(max_examples=200, deadline=None)
def test_short_words_are_no_products(words: list[str], joint: str, rng) -> None:
    gold = joint.join(words)
    mixed = joint.join("".join(rng.sample(word, len(word))) for word in words)
    turned = joint.join(words[::-1])
    assert rewards([gold.title(), mixed, turned], gold) == [1.0, float(mixed == gold), 0.0]


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_algebra_finds_equal_polynomials_and_no_others(a: int, b: int, c: int) -> None:
    gold = f"{a}x^2+{a * (b + c)}x+{a * b * c}"
    right = [f"{a}(x+{b})(x+{c})", f"{a * b * c}+{a * (b + c)}x+{a}x^2"]
    wrong = [f"{a}(x+{b})(x-{c})", f"{a + 1}(x+{b})(x+{c})", f"{a}(y+{b})(y+{c})", f"{gold}=0"]
    assert rewards(right + wrong, gold) == [1.0] * 2 + [0.0] * 4


@given(st.integers(2, 300), st.integers(1, 299))
@settings(max_examples=60, deadline=None)
def test_numbers_keep_their_difference_however_small(power: int, step: int) -> None:
    gold = rf"1+10^{{-{power}}}"
    assert rewards([rf"10^{{-{power}}}+1", rf"1+10^{{-{power + step}}}", "1"], gold) == [
        1.0,
        0.0,
        0.0,
    ]


@given(st.integers(2, 30), st.integers(2, 30), st.integers(1, 99), st.sampled_from("abkmxyz"))
@settings(max_examples=100, deadline=None)
def test_no_letter_between_spaces_is_a_word_that_joins(a: int, b: int, c: int, name: str) -> None:
    gold = f"{a}n + {b}{name} = {c}"
    spaced = f"{b} {name} + {a} n = {c}"
    right = [spaced, f"{c} = {a}n + {b} {name}", f"{a}n + {b} {name} - {c} = 0"]
    wrong = [f"{a}n - {b} {name} = {c}", f"{a}n + {b} {name} = {c + 1}", f"{a}n + {b} {name}"]
    assert rewards(right + wrong, gold) == [1.0] * 3 + [0.0] * 3


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_the_names_of_coordinates_are_dress_and_their_order_is_not(x: int, y: int, d: int) -> None:
    gold = f"({x}, {y})"
    right = [f"(x, y) = ({x}, {y})", f"x = {x}, y = {y}", f"y = {y}, x = {x}", f"P({x}, {y})"]
    wrong = [f"(x, y) = ({x}, {y + d})", f"(y, x) = ({x}, {y})", f"P({x + d}, {y})", f"f({x}, {y})"]
    assert rewards(right + wrong, gold) == [1.0] * 4 + [0.0] * 4
    named = [f"(x, y) = ({y}, {x})", f"({x}, {y})"]
    assert rewards(named, f"(x, y) = ({x}, {y})") == [float(x == y), 1.0]


@given(st.integers(2, 999), st.sampled_from([r"\pi", r"\sqrt{2}", r"\sqrt{3}"]))
@settings(max_examples=100, deadline=None)
def test_expressions_are_converted_between_units_as_numbers_are(n: int, root: str) -> None:
    right = [f"{n}{root}", f"{100 * n}{root} cm", f"{n}{root} metres"]
    wrong = [f"{n}{root} cm", f"{n}{root} m^2", f"{10 * n}{root} cm", f"{n + 1}{root} m"]
    assert rewards(right + wrong, f"{n}{root} m") == [1.0] * 3 + [0.0] * 4


EMPTY = st.lists(
    st.sampled_from([r"\text{", r"\mathrm{", "}", r"\;", r"\quad ", " ", "$$", r"\(", r"\)"]),
    max_size=5,
).map("".join)


@given(st.integers(0, 999), EMPTY.filter(lambda text: text.count("{") == text.count("}")))
@settings(max_examples=200, deadline=None)
def test_a_box_without_a_letter_or_figure_hides_no_answer(value: int, dress: str) -> None:
    response = rf"\boxed{{{value}}} and \boxed{{{dress}}}"
    grades = GRADER.grade_many([(response, str(value)), (response, str(value + 1))])
    assert [g.reward for g in grades] == [1.0, 0.0]
