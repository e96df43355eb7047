"""Right answers in another spelling, each beside near ones that are wrong."""

from __future__ import annotations

import pytest
from test_kinds import disagreements


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (
            r"\cos 20^\circ",
            [r"\cos(20^\circ)", r"\cos 20°", r"\sin 70^\circ", r"\cos\frac{\pi}{9}"],
            [r"\cos 20", r"\cos(20)", r"\cos 20 rad", "20°", r"\sin 20^\circ"],
        ),
        (r"\frac12", [r"\cos 60^\circ", r"\sin 30^\circ", r"\cos 60 degrees"], [r"\cos 60"]),
        (r"\tan 15^\circ", [r"2-\sqrt{3}", r"\tan(15°)", r"\tan 15 degrees"], [r"2+\sqrt3", "15°"]),
        (r"\sin^2 20^\circ", [r"(\sin 20^\circ)^2"], [r"\sin^2 20", r"\sin 20^\circ"]),
        (r"\sin 20^\circ \cos 40^\circ", [r"\cos 40° \sin 20°"], [r"\sin 20 \cos 40^\circ"]),
        (r"4\sin 50^\circ", [r"4\cos 40^\circ"], [r"4\sin 50", r"\sin 200^\circ"]),
        (r"\tan\frac{45}{2}^\circ", [r"\tan 22.5^\circ", r"\sqrt2-1"], [r"\tan\frac{45}{2}"]),
        (r"\arccos(0.3)^\circ", [r"\arccos(0.3)^\circ"], [r"\arcsin(0.3)^\circ"]),
        (r"20\sqrt{2}^\circ", [r"20\sqrt2 degrees", r"20\sqrt{2}"], [r"20\sqrt3^\circ"]),
        ("45°", ["45 degrees", "45"], [r"\cos 45", "44°"]),
    ],
)
def test_the_degrees_of_a_functions_argument_are_no_unit_of_its_value(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (r"\sin x\cos x", [r"\sin x \cdot \cos x", r"\sin x \times \cos x"], [r"\sin(x\cos x)"]),
        (r"3\ln 2", [r"\ln 2 \cdot 3", r"3 \cdot \ln 2", r"\ln 8"], [r"\ln 6", r"\ln 2 + 3"]),
        (r"\log_2 8 \cdot 3", ["9", r"3\log_2 8"], [r"\log_2 24", r"\log_2(8 \cdot 3)"]),
        (r"e^x\cos x", [r"\cos x \cdot e^x"], [r"\cos(x e^x)"]),
        (r"\sin 2x", [r"\sin (2 \cdot x)", r"2\sin x \cdot \cos x"], [r"\sin 2 \cdot x"]),
        (r"\tan x \cdot y", [r"y\tan x"], [r"\tan xy", r"\tan(xy)"]),
    ],
)
def test_a_sign_of_multiplication_ends_the_argument_of_a_function(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (
            r"x = \pm 3",
            [r"x=\pm3", r"x=3 \text{ or } x=-3", r"\pm 3", "3, -3", r"\{-3, 3\}", "x_1=3, x_2=-3"],
            ["x = 3", "x = -3", r"x = \pm 4", r"y = \pm 3", "x = 3, y = -3", "3, 3", r"x = \mp 4"],
        ),
        (r"x = 1 \pm 2i", [r"x=1\pm2i", "x = 1+2i or x = 1-2i", r"1 \mp 2i"], [r"x=2\pm i", "1"]),
        (
            r"y = \pm\frac{3}{4}x",
            [r"y=\pm\frac{3x}{4}", "y = 3x/4, y = -3x/4", r"4y = \pm 3x", r"3x \pm 4y = 0"],
            ["y = 3x/4", r"y = \pm\frac43x", r"x = \pm\frac34y", r"y = \pm\frac34"],
        ),
        (r"x = \frac{-1\pm\sqrt5}{2}", [r"\frac{-1+\sqrt5}{2}, \frac{-1-\sqrt5}{2}"], ["x=1"]),
        (r"x^2 = \pm 4", [r"x^2=\pm4"], [r"x = \pm 4", r"\pm 4", "x^2 = 4"]),
        (r"x = \pm a \pm b", [r"x=\pm a\pm b"], ["x = a + b"]),
    ],
)
def test_a_name_before_two_signs_stands_before_two_values(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        ("(120, 150)", ["(x,y)=(120,150)", "P(120,150)", "120, 150"], ["(150,120)", "(120150)"]),
        (
            "[100, 200]",
            [r"x\in[100,200]", r"100\le x\le 200"],
            ["[100,201]", "[200,100]", "(100,200)"],
        ),
        (r"\{100, 200, 300\}", [r"\{300,200,100\}"], [r"\{300,200\}", r"\{300,200,101\}"]),
        ("x = 100, y = 200", ["(100,200)", "(x,y)=(100,200)"], ["(200,100)", "100200"]),
        ("(100, 200)", [r"\langle 100,200\rangle"], ["<200,100>", "100200"]),
        ("(100,200)", ["(100, 200)", "100, 200", "(x,y) = (100, 200)"], ["(200, 100)"]),
        ("(-\\infty, 100] \\cup [200, 300]", [r"(-\infty,100]\cup[200,300]"], ["[200,300]"]),
        ("1234", ["1,234", "(1,234)"], ["(1,235)", "(12,34)", r"\{1, 234\}"]),
        ("1,000, 2,000", ["[1,000, 2,000]", r"\{2000, 1,000\}"], ["[1, 000, 2, 000]"]),
        (r"f(1,200)", ["f(1, 200)"], ["f(1,201)"]),
    ],
)
def test_figures_in_brackets_are_parts_where_parts_are_asked_for(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (
            "5 cm",
            ["$5$.", "$5$", "$5$ cm.", r"5\,{\rm cm}", "5 {\\mathrm{cm}}", "5~cm"],
            ["$5", "$5."],
        ),
        ("15%", ["$15$.", r"$15\%$."], ["$15."]),
        ("2x", ["$2x$.", "$2 x$"], ["$3x$."]),
        ("$5", ["$5.", r"\$5", "5 dollars"], ["$6.", "5 euros"]),
        ("$5 and $6", ["$5, $6"], ["$5 and $7"]),
        (
            "5",
            [r"5\,{\rm cm}", r"{\color{red}5}", r"\color{red}{5}", r"\textcolor{red}{5}."],
            ["{6}"],
        ),
        ("(1, 2)", [r"\textcolor{red}{(1, 2)}", r"{\bf (1, 2)}"], [r"\textcolor{red}{(2, 1)}"]),
        ("B", [r"{\bf (B)}", r"{\bf B}", r"\textcolor{blue}{B}"], [r"{\bf (C)}", "{B, C}"]),
        (r"\frac{m}{s}", [r"\frac{\rm m}{\rm s}", r"\frac{{\rm m}}{s}"], [r"\frac{\rm s}{\rm m}"]),
        ("x^{12}", [r"x^{\bf 12}", r"x^{\textcolor{red}{12}}"], [r"x^{\bf 1}2", "x^1 2"]),
        (r"\sqrt{ab}", [r"\sqrt {ab}"], ["ab", r"\sqrt{a}b"]),
        (r"\frac{1}{ab}", [r"\frac1{ab}", r"\frac 1{ab}"], ["1 ab", r"\frac1a b"]),
    ],
)
def test_dollars_colours_and_braces_are_dress(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (
            r"5 m/s^2",
            [r"5\,\frac{\mathrm{m}}{\mathrm{s}^2}", r"5\,\frac{\rm m}{\rm s^2}", "5 m s^(-2)"],
            [r"5\,\frac{\mathrm{m}}{\mathrm{s}}", r"5\,\frac{\mathrm{s}^2}{\mathrm{m}}"],
        ),
        ("5", [r"5\,\frac{\mathrm{m}}{\mathrm{s}^2}", r"5\text{ sq. units}"], ["5 sq. roots of 2"]),
        ("5 square units", ["5 sq. units", "5 sq units"], ["5 units", "5 cu. units"]),
        ("5 sq. ft", ["5 ft^2", "5 Sq. Ft."], ["5 cu. ft", "5 ft"]),
        (
            r"\frac{x}{2}",
            [r"\frac x2", r"\frac x 2", "x/2"],
            [r"\frac 2x", r"\frac x3", r"\frac x22"],
        ),
        (r"\frac{\pi}{2}", [r"\frac\pi2"], [r"\frac2\pi"]),
        ("2x", [r"f^{\prime}(x)=2x", r"f^\prime(x)=2x", "f'(x)=2x", r"y^{\prime}=2x"], ["f'(x)=x"]),
        (r"f''(x)", [r"f^{\prime\prime}(x)"], [r"f^{\prime}(x)"]),
        (
            "all real numbers",
            ["All real numbers", r"\mathbb{R}", "ALL REALS"],
            ["All numbers", "real"],
        ),
        (
            r"\mathbb{R}",
            ["All real numbers", "the set of all real numbers", r"(-\infty,\infty)"],
            ["r"],
        ),
        (
            "[2, 5)",
            [r"\{x | 2 \le x < 5\}", "{x | 2 ≤ x < 5}", "{x: 2 <= x < 5}"],
            ["{x | 2 ≤ x ≤ 5}"],
        ),
        (
            r"(-\infty,-1)\cup(3,\infty)",
            [r"(-\infty,-1)\bigcup(3,\infty)", "x < -1 or x > 3"],
            [r"(-\infty,-1)\bigcap(3,\infty)", r"(-\infty,-1]\bigcup(3,\infty)"],
        ),
        ("5-10", ["5~10", "5 ~ 10"], ["5 10", "10~5"]),
        ("New York", ["New~York"], ["York~New"]),
    ],
)
def test_signs_letters_and_units_have_many_spellings(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (
            "(1, 2)",
            ["P=(1,2)", "A = (1, 2)", r"\vec{u} = (1,2)", r"\vec a + \vec b = (1,2)", "1, 2"],
            ["P=(2,1)", "(y,x) = (1,2)", "2P=(1,2)", r"P \ne (1,2)", "not P = (1,2)", "P=(1,2,3)"],
        ),
        (
            r"\{1, 2\}",
            [r"S=\{1,2\}", r"A = \{2, 1\}", r"A \cap B = \{1,2\}", r"A' = \{1,2\}"],
            [r"S=\{1,3\}", r"S \ne \{1,2\}", r"S=\{1,2,3\}", "S=(1,2)", r"S \subset \{1,2\}"],
        ),
        (
            "[2, 5)",
            ["D=[2,5)", r"A\cup B = [2,5)", "x \\in [2,5)"],
            ["D=(2,5)", "D=[2,6)", "D>[2,5)"],
        ),
        (r"(-\infty,1)\cup(2,3)", [r"D = (-\infty,1)\cup(2,3)"], [r"D = (-\infty,1)\cap(2,3)"]),
        (r"\mathbb{R}", [r"D = \mathbb{R}"], [r"D = \mathbb{Q}"]),
        (
            r"\{1,2,3\}",
            [r"A \cap B = \{1,2,3\}", r"(A \cup B)' = \{3,2,1\}", r"A \setminus B = \{1,2,3\}"],
            [r"A \cap B = \{1,2\}"],
        ),
        (
            "1:2",
            ["AB:BC=1:2", "x : y = 1 : 2", r"\angle A:\angle B = 1:2"],
            ["AB:BC=2:1", "a:b:c=1:2"],
        ),
        (
            r"x \in \{1, 2\}",
            ["1, 2", r"\{2, 1\}", "x = 1 or x = 2", "x=1, x=2"],
            ["1", "y=1 or y=2"],
        ),
        (r"x \in \{1, 2\}", [r"x\in\{2,1\}"], [r"y \in \{1,2\}", r"x \notin \{1,2\}", "(1, 2)"]),
        (r"S = \{1, 2\}", [r"\{2,1\}", "1, 2", r"S=\{2,1\}"], [r"T=\{1,2\}", "S=(1,2)", "1, 3"]),
        ("D = [2, 5)", ["[2,5)", "D=[2,5)", r"2 \le x < 5"], ["[2,5]", "E=[2,5)"]),
        (
            r"\begin{pmatrix}1&2\\3&4\end{pmatrix}",
            [
                r"A^{-1}=\begin{pmatrix}1&2\\3&4\end{pmatrix}",
                r"A+B=\begin{bmatrix}1&2\\3&4\end{bmatrix}",
                r"A^T B=\begin{bmatrix}1&2\\3&4\end{bmatrix}",
            ],
            [
                r"2A=\begin{pmatrix}1&2\\3&4\end{pmatrix}",
                r"A^{-1}=\begin{pmatrix}1&3\\2&4\end{pmatrix}",
                r"-A=\begin{pmatrix}1&2\\3&4\end{pmatrix}",
            ],
        ),
    ],
)
def test_a_name_may_stand_before_brackets(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (
            r"\frac{1}{x-1}",
            [r"f^{-1}(x)=\frac{1}{x-1}", r"g(f(x)) = \frac1{x-1}", r"\frac{1}{x-1} = h(x)"],
            [r"f^{-1}(x)=x-1", r"x^{-1} = \frac{1}{x-1}", r"2f(x) = \frac1{x-1}"],
        ),
        (
            r"\frac34",
            [
                *(r"P(A\cup B)=\frac34", r"\cos A=\frac34", r"P(X\ge2)=0.75", r"\Pr(A)=3/4"),
                *(r"E[X]=\frac34", r"\sin\angle ABC = \frac34", r"\tan\theta = 0.75", "P(X=2)=3/4"),
                *(r"\det A = \frac34", r"x_1+x_2 = \frac34", r"\cos(A+B)=\frac34", "E(X) = 3/4"),
            ],
            [
                *(r"P(A\cup B)=\frac14", r"2\cos A=\frac34", r"\ln x = \frac34", r"x^{-1}=\frac34"),
                *(r"1-P(A)=\frac34", r"\cos A \ne \frac34", r"\cos^{-1} A = \frac34", "P(A)<3/4"),
                *(r"P(\text{not } A \text{ or not}) \ne \frac34", r"-\cos A = \frac34"),
            ],
        ),
        (
            "73",
            ["m+n=73", "m + n = 70 + 3 = 73", "p+q+r=73", "73 cm", "AB + BC = 73", "a-b=73"],
            [
                "m+n=72",
                "2m+n=73",
                "100m+n=73",
                "-m+n=73",
                "m+m=73",
                "70=73",
                "m+n=70=73",
                "3+70=74",
            ],
        ),
        ("5", [r"\lim_{x\to 0} f(x)=5", r"\sum_{n=1}^5 1 = 5", r"|AB|=5", r"\max f(x) = 5"], []),
        ("5", [r"\int_0^5 1\,dx = 5", r"|A \cup B| = 5"], ["2x=5", "-x=5", "x^2=5", "not m+n=5"]),
        (
            "y = (x+1)(x-2)",
            ["y = x^2 - x - 2", "y - (x+1)(x-2) = 0", "2y = 2(x+1)(x-2)", "x^2 - x - 2 = y"],
            ["z = (x+1)(x-2)", "z = x^2 - x - 2", "y = (x+1)(x+2)", "-y = (x+1)(x-2)"],
        ),
        ("5", [r"\gcd(a,b) = 5"], [r"\max(a,b)+1 = 5", r"\min f(x)/2 = 5", "half(x) = 5", "NOT=5"]),
        ("(1, 2)", ["AB = (1,2)"], ["NOT = (1,2)", "NOT + A = (1,2)", "if A = (1,2)"]),
        ("x + y = 5", ["y+x=5", "5 = x + y"], ["5", "x + y = 6"]),
        (r"\sin x = \cos x", [r"\cos x=\sin x"], [r"\cos x", r"\sin x"]),
        (r"\cos x = \frac12", [r"2\cos x = 1", r"\frac12"], [r"x = \frac12", r"\cos x = 2"]),
        ("1, 2", ["x = 1, x = 2"], ["x + y = 1, x - y = 2", "x + y = 1, 2"]),
        ("(1, 2)", ["x = 1, y = 2"], ["x + y = 1, x - y = 2"]),
        ("x + y = 5, x - y = 1", ["2x + 2y = 10, x - y = 1"], ["5, 1", "x + y = 1, x - y = 5"]),
    ],
)
def test_usual_left_sides_are_names(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (
            r"\frac23",
            [
                r"\frac{2}{3}\approx 0.667",
                r"\frac23 ≈ 0.67",
                r"x = \frac23 \approx 66.7\%",
                "2/3 (0.667)",
            ],
            [
                r"\frac23\approx 0.66",
                r"\frac23 = 0.667",
                r"\frac13 \approx 0.667",
                "2/3 (0.66)",
                "0.667",
            ],
        ),
        (
            r"\sqrt{2}",
            [r"x=\sqrt{2}\approx 1.41", r"\sqrt2 (\approx 1.414)", r"\sqrt2 \approx 1"],
            [r"\sqrt{2}\approx 1.42", r"x = \sqrt3 \approx 1.41", r"\sqrt3 \approx 1.73", "1.41"],
        ),
        (
            "6.28",
            [r"2\pi \approx 6.28", r"2\pi ≈ 6.283"],
            [r"2\pi \approx 6.29", r"3\pi \approx 6.28"],
        ),
        (
            r"\frac34",
            [r"\frac34 (75\%)", r"\frac34 (or 0.75)", "0.75 (3/4)"],
            [r"\frac34 (70\%)", "3/4 (3)"],
        ),
        ("4", ["2 (2)", "8 (0.5)"], ["2 (0.5)", "4 (0.5)"]),
        ("2", ["4 (0.5)"], ["2 (2)"]),
        (r"2\pi \approx 6.28", [r"2\pi", "6.28", r"2\pi\approx 6.283"], [r"3\pi", "6.29"]),
        (
            "0.7",
            [r"x \approx 0.7", "0.7 (70%)"],
            [r"0.74 \approx 0.7", r"\frac34 \approx 0.7", r"x \approx 0.8"],
        ),
    ],
)
def test_a_value_may_be_said_twice_if_it_is_the_same(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


PLANETS = {"options": ("Mars", "Sun", "Venus", "Moon")}


@pytest.mark.parametrize(
    ("gold", "right", "wrong", "about"),
    [
        (
            "A, C",
            [
                "A. Mars, C. Venus",
                "Mars, Venus",
                "Venus and Mars",
                r"\{A, C\}",
                "Both A and C",
                "CA",
            ],
            [
                "A. Mars, C. Moon",
                "Mars",
                "Mars, Sun",
                "Mars or Venus",
                "A or C",
                "Mars, Venus, Moon",
                "Mars, Venus, Pluto",
            ],
            PLANETS,
        ),
        (
            "A, C",
            ["(A) Mars; (C) Venus", "A. Mars and Venus", "options A and C"],
            ["A, A", "Mars, Mars", "A. Sun, C. Mars", r"\{A\}", "Both A and B", "neither A nor C"],
            PLANETS,
        ),
        ("AC", ["C, A", "Mars, Venus", "[A, C]"], ["Mars, Moon", "[A, B]"], PLANETS),
        (
            "A, C",
            [r"\{A, C\}", "Both A and C", "(A, C)"],
            [r"\{A, B\}", "Both A and B", "both"],
            {},
        ),
        ("ACD", ["A, C, D"], ["A, C"], {}),
    ],
)
def test_several_options_are_named_by_letters_and_by_texts(gold, right, wrong, about) -> None:
    assert disagreements(gold, right, wrong, **about) == []


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (
            "e",
            ["e^1", "2.718281828", "x = e", "E", "(e)"],
            ["2.71", "e^2", "f", "x = f", "2.718281829"],
        ),
        ("a", ["x=a", "2a/2", "A", "(a)", "option a"], ["x=b", "2a", "b", "a or b", "aa", "B. a"]),
        ("b", ["b. 45", "b"], ["c. b", "b, c", "b or c", "45"]),
        (
            r"\frac15\begin{pmatrix}1&2\\3&4\end{pmatrix}",
            [
                r"\begin{pmatrix}\frac15&\frac25\\\frac35&\frac45\end{pmatrix}",
                r"0.2 \cdot \begin{bmatrix}1&2\\3&4\end{bmatrix}",
                r"\frac{1}{10}\begin{pmatrix}2&4\\6&8\end{pmatrix}",
                r"A^{-1} = \frac15\begin{pmatrix}1&2\\3&4\end{pmatrix}",
                "[[1/5, 2/5], [3/5, 4/5]]",
            ],
            [
                r"\begin{pmatrix}1&2\\3&4\end{pmatrix}",
                r"\frac15\begin{pmatrix}1&2\\3&5\end{pmatrix}",
                r"\frac15\begin{vmatrix}1&2\\3&4\end{vmatrix}",
                r"-\frac15\begin{pmatrix}1&2\\3&4\end{pmatrix}",
                r"\text{not }\frac15\begin{pmatrix}1&2\\3&4\end{pmatrix}",
            ],
        ),
        (
            r"\begin{pmatrix}-1&-2\end{pmatrix}",
            [r"-\begin{pmatrix}1&2\end{pmatrix}", r"(-1)\begin{pmatrix}1&2\end{pmatrix}"],
            [r"\begin{pmatrix}1&2\end{pmatrix}"],
        ),
        (
            r"\begin{pmatrix}x&2x\end{pmatrix}",
            [r"x\begin{pmatrix}1&2\end{pmatrix}"],
            [r"x\begin{pmatrix}1&x\end{pmatrix}"],
        ),
        (
            r"2\begin{vmatrix}1&2\\3&4\end{vmatrix}",
            [r"2\begin{vmatrix}1&2\\3&4\end{vmatrix}"],
            [r"\begin{vmatrix}2&4\\6&8\end{vmatrix}"],
        ),
    ],
)
def test_letters_are_variables_too_and_matrices_have_factors(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (
            r"x \equiv 3 \pmod{7}",
            [
                *(r"x \equiv 3 \pmod 7", r"x \equiv 3 (\text{mod } 7)", "x ≡ 3 (mod 7)"),
                *(r"x \equiv 3 \mod 7", r"x\equiv 10\pmod{7}", r"x \equiv -4 \pmod{7}"),
                *(r"x \equiv 3 \bmod 7", r"x \equiv 3, \text{mod } 7"),
            ],
            [
                *(r"x \equiv 4 \pmod{7}", r"x \equiv 3 \pmod{8}", r"y \equiv 3 \pmod 7", "x = 3"),
                *(
                    r"x \equiv 3 \pmod{14}",
                    r"x \equiv 3.5 \pmod{7}",
                    "3",
                    r"x \not\equiv 3 \pmod 7",
                ),
            ],
        ),
        (r"x \equiv a \pmod n", [r"x \equiv a \pmod{n}", "x ≡ a (mod n)"], [r"x \equiv a \pmod m"]),
        (
            r"k\pi, k \in \mathbb{Z}",
            [
                *(
                    r"n\pi, n\in\mathbb{Z}",
                    r"k\pi\ (k\in\mathbb{Z})",
                    r"x = m\pi, m \in \mathbb{Z}",
                ),
                *(r"n\pi where n is an integer", r"n\pi for any integer n", r"\pi n, n \in Z"),
                *(r"\{n\pi : n \in \mathbb{Z}\}", r"\{n\pi \mid n \in \mathbb{Z}\}"),
            ],
            [
                *(
                    r"2n\pi, n\in\mathbb{Z}",
                    r"n\pi, n\in\mathbb{N}",
                    r"n\pi",
                    r"n\pi, k \in \mathbb{Z}",
                ),
                *(
                    r"n\pi, n \notin \mathbb{Z}",
                    r"(n+k)\pi, n\in\mathbb{Z}",
                    r"\pi, n \in \mathbb{Z}",
                ),
            ],
        ),
        (
            r"x = \frac{\pi}{4} + 2k\pi \text{ or } x = \pi + 2k\pi, k \in \mathbb{Z}",
            [r"x=\pi+2n\pi, x = \frac{\pi}{4}+2n\pi, n \in \mathbb{Z}"],
            [r"x=\pi+2n\pi, n \in \mathbb{Z}"],
        ),
        (
            r"2k\pi, k \in \mathbb{Z}",
            [r"2n\pi, n \in \mathbb{Z}"],
            [r"(n+k)\pi, n \in \mathbb{Z}", r"2n\pi, n \in \mathbb{N}"],
        ),
        (r"\frac{x^3}{3}+C", [r"\frac{x^3}{3}+c"], [r"\frac{x^3}{3}", "x^3+c"]),
        (r"Cx + C", ["Cx + C"], ["cx + c"]),
        ("ax + c", ["ax+c"], ["ax + C"]),
        ("3.5", ["3.45", "3.4999", "3.549"], ["3.55", "3.44"]),
        ("3.4", ["3.45", "3.35"], ["3.46"]),
        ("-3.5", ["-3.45"], ["-3.55"]),
    ],
)
def test_families_congruences_constants_and_ties(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []
