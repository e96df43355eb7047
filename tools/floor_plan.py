"""Figures of the floor plan at some revisions, for docs/architecture.md.

python tools/floor_plan.py 4161960 HEAD
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator

TOPS = ("zppo_core", "eval", "steps", "flows")


def sources(revision: str) -> dict[str, str]:
    """The product's Python files at a revision, by path."""
    listed = _git("ls-tree", "-r", "--name-only", revision).splitlines()
    paths = [p for p in listed if p.endswith(".py") and p.split("/")[0] in TOPS]
    return {path: _git("show", f"{revision}:{path}") for path in paths}


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout


def local_imports(tree: ast.AST) -> Iterator[str]:
    """Modules that are imported inside functions."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import):
                    yield from (alias.name for alias in node.names)
                elif isinstance(node, ast.ImportFrom):
                    yield node.module or ""


def figures(revision: str) -> dict[str, str]:
    """What the page says of a revision."""
    files = sources(revision)
    trees = {path: ast.parse(text) for path, text in files.items()}
    sizes = {path: text.count("\n") for path, text in files.items()}
    lines = sum(sizes.values())
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    uses = sum(isinstance(node, ast.Name) and node.id == "Any" for node in nodes)
    inside = [module for tree in trees.values() for module in local_imports(tree)]
    own = [module for module in inside if module.split(".")[0] in TOPS]
    steps = [size for path, size in sizes.items() if path.rpartition("/")[0] == "steps"]
    return {
        "files, lines": f"{len(files)}, {lines:,}",
        "`Any` per 1,000 lines": f"{1000 * uses / lines:.1f}",
        "imports inside functions per 1,000 lines": f"{1000 * len(inside) / lines:.1f}",
        "of them our own modules": str(len(own)),
        "files over 400 lines": str(sum(size > 400 for size in sizes.values())),
        "`steps/`: files over 80 lines": str(sum(size > 80 for size in steps)),
    }


def main(revisions: list[str]) -> None:
    """Print a row of Markdown for each figure."""
    columns = [figures(revision) for revision in revisions]
    print("| measured |", " | ".join(revisions), "|")
    print("| --- |" + " --- |" * len(revisions))
    for name in columns[0]:
        print("|", name, "|", " | ".join(column[name] for column in columns), "|")


if __name__ == "__main__":
    main(sys.argv[1:] or ["HEAD"])
