"""Trees of expressions, as `parser` makes them: `(operator, *operands)`."""

from __future__ import annotations

from fractions import Fraction

Tree = tuple["str | Fraction | Tree", ...]  # the operator, its operands


def number_of(tree: Tree) -> Fraction:
    """The number of a "num"; TypeError if the tree is none."""
    if not isinstance(tree[1], Fraction):
        raise TypeError(f"{tree[0]} holds no number")
    return tree[1]


def name_of(tree: Tree) -> str:
    """The name of a "sym" or of an "fn"; TypeError if the tree has none."""
    if not isinstance(tree[1], str):
        raise TypeError(f"{tree[0]} holds no name")
    return tree[1]


def operands_of(tree: Tree) -> list[Tree]:
    """The trees that a tree is made of, in order."""
    return [part for part in tree[1:] if isinstance(part, tuple)]


def bare(tree: Tree) -> Tree:
    """The tree without the mark of brackets around it."""
    return tree[:-1] if tree[-1] == "group" else tree
