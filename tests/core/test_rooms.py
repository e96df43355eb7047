"""The floor plan: imports go down the list of rooms only, local ones included."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GROUND = (
    "zppo_core.types",
    "zppo_core.errors",
    "zppo_core.streams",
    "zppo_core.extensions",
    "zppo_core.protocols",
)
# from the ground floor up: a module may import from its own room and from those before it
ROOMS = (
    "ground",
    "zppo_core.processes",
    "zppo_core.prompts",
    "zppo_core.store",
    "zppo_core.rewards",
    "zppo_core.data",
    "zppo_core.config",
    "zppo_core.algorithm",
    "zppo_core.models",
    "zppo_core.engines",
    "zppo_core.training",
    "zppo_core.records",
    "zppo_core.cluster",
    "zppo_core.run",
    "zppo_core.cli",
    "eval",
    "eval.report",
    "commands",
    "steps",
    "flows",
)
COMMANDS = (
    "pipeline",
    "audit",
    "compare",
    "cost",
    "database",
    "evidence",
    "figures",
    "judge",
    "tables",
)


def modules() -> dict[str, Path]:
    """Every module of the product, by its dotted name."""
    found = {}
    for top in ("zppo_core", "eval", "steps", "flows"):
        for path in sorted((ROOT / top).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imports(name: str) -> Iterator[str]:
    """Modules of the product that `name` imports, in functions too."""
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                target = full if full in MODULES else node.module
                if target in MODULES and target != name:
                    yield str(target)


def room(name: str) -> str:
    parts = name.split(".")
    if name in GROUND:
        return "ground"
    if parts[0] in ("steps", "flows"):
        return parts[0]
    if parts[0] == "eval":
        if len(parts) == 2 and parts[1] in COMMANDS:
            return "commands"
        return "eval.report" if parts[1:2] == ["report"] else "eval"
    return ".".join(parts[:2])


GRAPH = {name: sorted(set(imports(name))) for name in MODULES}


def test_every_module_is_in_a_room() -> None:
    homeless = [n for n in MODULES if n != "zppo_core" and room(n) not in ROOMS]
    assert not homeless


def test_imports_go_down_the_list_of_rooms() -> None:
    order = {name: i for i, name in enumerate(ROOMS)}
    up = [
        f"{name} -> {target}"
        for name, targets in GRAPH.items()
        for target in targets
        if "zppo_core" not in (name, target) and order[room(target)] > order[room(name)]
    ]
    assert not up


def test_no_modules_import_each_other_in_a_circle() -> None:
    state: dict[str, str] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if state.get(name) == "open":
            pytest.fail(" -> ".join((*path[path.index(name) :], name)))
        if name in state:
            return
        state[name] = "open"
        for target in GRAPH[name]:
            visit(target, (*path, name))
        state[name] = "done"

    for name in MODULES:
        visit(name, ())


def test_only_tests_of_steps_and_cards_import_steps() -> None:
    """What else is tested or measured is the core's, and runs without Metaflow."""
    # hostile markup is tried in the cards
    allowed = {ROOT / "tests" / name for name in ("steps", "cards", "e2e", "hostile")}
    files = [path for top in ("tests", "benchmarks") for path in (ROOT / top).rglob("*.py")]
    faults = []
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            if "steps" in {name.split(".")[0] for name in names} and not allowed & {*path.parents}:
                faults.append(path.relative_to(ROOT).as_posix())
    assert not faults


def test_the_formatter_decides_layout() -> None:
    marker = "# fmt: " + "skip"
    tops = ("zppo_core", "eval", "steps", "flows", "tests", "benchmarks", "tools")
    files = [path for top in tops for path in (ROOT / top).rglob("*.py")]
    assert not [str(p) for p in files if marker in p.read_text()]


def test_any_stays_rare() -> None:
    """At most five uses of `Any` in 1,000 lines: seams have types."""
    uses = lines = 0
    for top in ("zppo_core", "eval", "steps", "flows"):
        for path in (ROOT / top).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            lines += text.count("\n")
            nodes = ast.walk(ast.parse(text))
            uses += sum(isinstance(node, ast.Name) and node.id == "Any" for node in nodes)
    assert 1000 * uses / lines <= 5


# files that ask objects of other packages what they have: models, optimizers, errors
ASKS_OTHERS = {
    "zppo_core/cluster/actors.py",
    "zppo_core/training/sharded_state.py",
    "zppo_core/config/reading.py",
    "zppo_core/engines/hf.py",
    "zppo_core/engines/vllm_weights.py",
    "zppo_core/models/loading.py",
    "zppo_core/models/qwen3_5/hybrid.py",
    "zppo_core/models/weights.py",
    "zppo_core/prompts/__init__.py",
    "zppo_core/run/reach.py",
    "zppo_core/training/deepspeed.py",
    "zppo_core/training/fp32_params.py",
    "zppo_core/training/optimizer_state.py",
    "zppo_core/training/updater.py",
}


def test_abilities_of_ours_are_in_types_not_asked_for_by_name() -> None:
    """`hasattr` and `getattr` with a default look at objects of other packages alone."""
    asking = set()
    for path in MODULES.values():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                asks = node.func.id == "hasattr" or (
                    node.func.id == "getattr" and len(node.args) == 3
                )
                if asks:
                    asking.add(path.relative_to(ROOT).as_posix())
                    assert ast.unparse(node.args[0]) != "self"
    assert asking == ASKS_OTHERS


def test_steps_are_thin() -> None:
    """A step reads the run, calls a room below and fills the card."""
    sizes = {path.name: path.read_text().count("\n") for path in (ROOT / "steps").glob("*.py")}
    assert {name: size for name, size in sizes.items() if size > 80} == {}


PRONOUNS = {
    *("found", "made", "own", "known", "said", "about", "wanted", "it", "whose", "who"),
    *("mine", "yours", "ours", "theirs", "hers", "them", "they"),
}


def bound_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Names that a module gives: variables, arguments, attributes, functions, classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name, node.lineno


def test_names_are_nouns_not_pronouns() -> None:
    """A name says what a value is: `checkpoint`, not `found`."""
    faults = []
    for path in MODULES.values():
        place = path.relative_to(ROOT).as_posix()
        tree = ast.parse(path.read_text())
        faults += [f"{place}:{n} {s}" for s, n in bound_names(tree) if s.strip("_") in PRONOUNS]
    assert not faults


def test_files_stay_under_400_lines() -> None:
    """A longer file has a seam: split it there."""
    sizes = {p.relative_to(ROOT).as_posix(): p.read_text().count("\n") for p in MODULES.values()}
    long = {name for name, size in sizes.items() if size > 400}
    assert not long
