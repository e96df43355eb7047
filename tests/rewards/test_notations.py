"""Notations that LaTeX packages, programs, schools and other scripts have for the same answers."""

from __future__ import annotations

import pytest
from test_kinds import disagreements


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        ("25", ["２５", r"\huge 25", r"\Huge{25}", r"\tiny 25"], ["٢٥", "２６"]),
        ("1000000", ["1'000'000", "1_000_000"], ["1'000", "1_000_00", "1'000_000"]),
        ("12.5", ["12,5"], ["12,6", "125"]),
        ("12, 5", ["12,5", "5, 12"], ["12.5"]),
        ("0.5", ["0,5", "0,50"], ["0,6"]),
        ("5", ["5"], ["0,5", "5,0"]),
        ("100", ["hundred", "a hundred"], ["hundred five", "a hundreds"]),
        ("True", ["√", "true"], ["×"]),
        (r"2\sqrt{3}", [r"2\surd3", r"2\sqrt{\mathstrut 3}"], [r"2\surd 2"]),
        ("60°", ["60^o", r"\ang{60}"], ["6^o", r"\ang{61}"]),
        (r"\frac{\pi}{3}", ["Pi/3"], ["Pi/4"]),
        (r"e^{2x}", [r"\exp\{2x\}"], [r"\exp\{x\}"]),
        (r"\sin^2 x", ["sin(x)^2", r"\sin(x)^2"], [r"\sin(x^2)", "sin(x)^3"]),
        ("10", ["C(5,2)", "_5C_2", "{}_5C_2", "^5C_2", "C^2_5"], ["C(5,1)", "_2C_5", "^5C_1"]),
        (r"\frac{n(n+1)}{2}", ["C(n+1, 2)", "_{n+1}C_2"], ["C(n,2)", "_{n}C_2"]),
        ("30", ["3{}^5C_2"], ["3^5C_2"]),
        # constants of integration behind a power
        ("C_1e^x", ["e^xC_1", "e^x C_1", "e^{x}C_1"], ["ex", "e^x"]),
        ("2x", ["x+x"], ["x^2C_1", "x ^2C_1"]),
    ],
)
def test_numbers_and_functions_of_other_hands(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (
            "5 cm",
            [r"\SI{5}{cm}", r"\qty{5}{\centi\metre}", "5 [cm]", "5[cm]"],
            [r"\SI{5}{m}", "5[m]"],
        ),
        (
            "10 m/s",
            [r"\SI{10}{\metre\per\second}", "10 m.s^{-1}", "10 m s-1"],
            ["10 m.s", "10 m s-2"],
        ),
        ("5 cm^2", ["5 cm2", r"5\,\mathrm{cm2}"], ["5 cm3", "5 cm-2"]),
        ("5", ["5 cm2", "5 m3"], ["5 B2", "5B2"]),
        ("500 BC", ["500 B.C."], ["500 AD"]),
        ("1.5 kg", ["1.5 kilos"], ["1.5 pounds"]),
    ],
)
def test_units_of_packages_and_without_a_caret(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


MATRIX = r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (
            MATRIX,
            [
                *("[1 2; 3 4]", "[1, 2; 3, 4]", "((1,2),(3,4))", r"\pmatrix{1&2\cr3&4}"),
                r"\begin{pmatrix}1&2\\[4pt]3&4\end{pmatrix}",
                r"\begin{pmatrix}1&3\\2&4\end{pmatrix}^T",
            ],
            [
                *("[1 3; 2 4]", "((1,3),(2,4))", MATRIX + "^T", "[1 2 3 4]", "[1;2;3;4]"),
                r"\pmatrix{1&3\cr2&4}",
            ],
        ),
        (
            r"\begin{pmatrix}1\\2\end{pmatrix}",
            ["[1, 2]^T", r"(1,2)^{\top}"],
            ["[2,1]^T", "(1,2)^2"],
        ),
    ],
)
def test_matrices_of_programs_and_turned_ones(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (
            "[2, 5)",
            [r"x \ge 2, x < 5", r"\{x | 2 \le x < 5, x \in R\}"],
            [r"x \ge 2, y < 5", r"x \ge 5, x < 2", r"x \ge 2 or x < 5"],
        ),
        (
            r"(-\infty,-1) \cup (1,\infty)",
            ["|x| > 1", "1 < |x|", "x < -1, x > 1", r"x \in (-\infty,-1) or x \in (1,\infty)"],
            [r"|x| \ge 1", "|x| < 1", "x > -1, x < 1", r"x \in (-\infty,-1) or y \in (1,\infty)"],
        ),
        (
            "x > 3",
            ["x is greater than 3", "all real numbers greater than 3", r"x > 3, x \in R"],
            ["x is less than 3", "x is not greater than 3", r"x > 3, x \in Z", "x > 3, x < 4"],
        ),
        (r"x \ge 3", ["x is greater than or equal to 3"], ["x is greater than 3"]),
    ],
)
def test_sets_of_numbers_in_words_and_by_two_inequalities(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []
