r"""What LaTeX packages and plain TeX write in their own commands, in the usual ones.

siunitx (`\SI{5}{\metre\per\second}`, `\ang{60}`), `\pmatrix{1&2\cr3&4}` and `\\[2pt]`.
"""

from __future__ import annotations

import re

_SI = re.compile(r"\\(?:SI|qty)\s*(?:\[[^\[\]]*\])?\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_ANGLE = re.compile(r"\\ang\s*\{([\d.]+)\}")
_PREFIXES = re.compile(r"\\(centi|milli|kilo|micro|nano|mega|deci)\s*\\")
_ROW_END = re.compile(r"\\\\\s*\[\s*-?[\d.]+\s*(?:pt|em|ex|mm|cm)\s*\]|\\cr(?![A-Za-z])")
_PLAIN_MATRIX = re.compile(r"\\pmatrix\s*\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}")


def unpacked(text: str) -> str:
    """`text` without such commands; it is LaTeX with a backslash."""
    if r"\pmatrix" in text:
        text = _PLAIN_MATRIX.sub(r"\\begin{pmatrix}\1\\end{pmatrix}", text)
    if r"\begin" in text:
        text = _ROW_END.sub(r"\\\\", text)
    if not ("\\SI" in text or "\\qty" in text or "\\ang" in text):
        return text
    return _ANGLE.sub(r"\1°", _SI.sub(_measured, text))


def _measured(match: re.Match[str]) -> str:
    """A number and its unit in words: `5 centimetre / second`."""
    number, unit = match.groups()
    unit = _PREFIXES.sub(r"\\\1", unit).replace(r"\per", "/").replace("\\", " ").strip()
    return f"{number} {unit.replace('.', ' ')}"
