"""The tool that tries wrong changes: what does not match is an error and no kill."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

PLACE = Path(__file__).resolve().parents[2] / "tools" / "mutants.py"


@pytest.fixture
def ours(monkeypatch) -> ModuleType:
    """The tool over this project."""
    spec = importlib.util.spec_from_file_location("mutants", PLACE)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mutants", found)  # its dataclasses look there
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def tool(ours, tmp_path, monkeypatch) -> ModuleType:
    """The tool over a small tree of its own: one module, one test."""
    found = ours
    (tmp_path / "tests").mkdir()
    (tmp_path / "half.py").write_text("def half(x):\n    return x / 2\n\n\nSAID = 'two'\n")
    (tmp_path / "tests" / "test_half.py").write_text(
        "from half import half\n\n\ndef test_four():\n    assert half(4) == 2\n"
    )
    monkeypatch.setattr(found, "ROOT", tmp_path)
    monkeypatch.setattr(found, "LISTS", tmp_path)
    monkeypatch.setattr(found, "KEPT", tmp_path / "kept" / "mutants.jsonl")
    monkeypatch.setattr(found, "HEAVY", ())
    monkeypatch.setattr(found, "tracked", lambda root: ["half.py", "tests/test_half.py"])
    return found


def listed(folder: Path, *mutants: tuple[str, str, str]) -> None:
    text = "[tests]\n'half.py' = ['tests/test_half.py']\n"
    for name, old, new in mutants:
        text += f"[[mutant]]\nname = '{name}'\nfile = 'half.py'\nold = '''{old}'''\n"
        text += f"new = '''{new}'''\n"
    (folder / "algorithm.toml").write_text(text)


def test_a_wrong_change_is_killed_and_one_that_no_test_minds_survives(
    tool, tmp_path, capsys
) -> None:
    listed(tmp_path, ("third", "x / 2", "x / 3"), ("said", "'two'", "'three'"))
    assert tool.main(["--jobs", "1", "--report", str(tmp_path / "page.md")]) == 1
    results = [json.loads(line) for line in tool.KEPT.read_text().splitlines()]
    assert [(r["name"], r["outcome"]) for r in results] == [
        ("third", "killed"),
        ("said", "survived"),
    ]
    assert results[0]["by"] == "tests/test_half.py::test_four"
    page = (tmp_path / "page.md").read_text()
    assert "| algorithm | `half.py` | 2 | 1 | 1 |" in page
    assert "- `said` (half.py): **not argued**" in page
    assert (tmp_path / "half.py").read_text().count("x / 2") == 1  # the tree is as it was
    # nothing has changed: nothing is tried again
    capsys.readouterr()
    assert tool.main(["--jobs", "1"]) == 1
    assert "2 known from before" in capsys.readouterr().out
    assert len(tool.KEPT.read_text().splitlines()) == 2
    # a test that minds is tried, and the tool is content
    (tmp_path / "tests" / "test_half.py").write_text(
        "from half import SAID, half\n\n\ndef test_four():\n    assert half(4) == 2\n"
        "    assert SAID == 'two'\n"
    )
    assert tool.main(["--jobs", "2"]) == 0


def test_the_page_keeps_what_was_not_tried_again(tool, tmp_path) -> None:
    listed(tmp_path, ("third", "x / 2", "x / 3"), ("said", "'two'", "'three'"))
    mutants = tool.read_lists(tmp_path)
    result = {
        n: tool.Result("", n, how, "", 0.1)
        for n, how in zip(("third", "said"), ("killed", "survived"), strict=True)
    }
    page = tool.report(mutants, result)
    assert "| algorithm | `half.py` | 2 | 1 | 1 |" in page
    assert tool.report(mutants, {}, page) == page
    assert tool.report(mutants, {"third": result["third"]}, page) == page
    result["said"] = tool.Result("", "said", "killed", "", 0.1)
    again = tool.report(mutants, result, page)
    assert "| algorithm | `half.py` | 2 | 2 | 0 |" in again
    assert again.endswith("None.\n")
    assert "half.py" not in tool.report(mutants, {})  # neither tried nor known


def test_a_long_argument_is_wrapped_on_the_page_and_kept_whole(tool, tmp_path) -> None:
    listed(tmp_path, ("said", "'two'", "'three'"))
    words = " ".join(f"word{i}" for i in range(60))
    path = tmp_path / "algorithm.toml"
    path.write_text(path.read_text() + f"argued = '{words}'\n")
    (mutant,) = tool.read_lists(tmp_path)
    page = tool.report([mutant], {"said": tool.Result("", "said", "survived", "", 0.1)})
    assert max(map(len, page.splitlines())) <= 140
    assert words in " ".join(page.split())
    assert tool.report([mutant], {}, page) == page


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("x / 4", "x", "its text stands 0 times in half.py"),
        ("x", "y", "its text stands 2 times in half.py"),
        ("x / 2", "x / 2", "changes nothing"),
        ("return x / 2", "return x / ", "cannot be read then"),
    ],
)
def test_a_change_that_cannot_be_made_is_an_error_and_no_kill(
    tool, tmp_path, capsys, old, new, words
) -> None:
    listed(tmp_path, ("m", old, new))
    assert tool.main(["--jobs", "1"]) == 2
    assert words in capsys.readouterr().err
    assert tool.main(["--check"]) == 2
    assert not tool.KEPT.exists()


def test_names_are_unique_and_files_have_tests(tool, tmp_path, capsys) -> None:
    listed(tmp_path, ("m", "x / 2", "x"), ("m", "'two'", "'one'"))
    assert tool.main(["--check"]) == 2
    assert "two mutants are named m" in capsys.readouterr().err
    listed(tmp_path, ("m", "x / 2", "x"))
    path = tmp_path / "algorithm.toml"
    path.write_text(path.read_text().replace("'half.py' = ", "'other.py' = "))
    assert tool.main(["--check"]) == 2
    assert "no tests are named for half.py" in capsys.readouterr().err


def test_an_unchanged_tree_that_fails_is_an_error_and_no_kill(tool, tmp_path, capsys) -> None:
    listed(tmp_path, ("third", "x / 2", "x / 3"))
    (tmp_path / "tests" / "test_half.py").write_text("def test_four():\n    assert False\n")
    assert tool.main(["--jobs", "1"]) == 2
    assert "the unchanged tree fails" in capsys.readouterr().err
    assert tool.KEPT.read_text() == ""


def test_a_change_that_never_ends_is_killed_by_time(tool, tmp_path) -> None:
    listed(tmp_path, ("endless", "return x / 2", "while True:\n        pass"))
    assert tool.main(["--jobs", "1", "--limit", "6"]) == 0
    (line,) = tool.KEPT.read_text().splitlines()
    assert json.loads(line)["outcome"] == "timeout"


def test_the_lists_of_the_project_are_well_formed(ours) -> None:
    mutants = ours.read_lists()
    assert len(mutants) >= 150
    assert {"algorithm", "records", "trainer", "presets", "rewards"} <= {m.section for m in mutants}
    for m in mutants:
        assert (ours.ROOT / m.file).is_file()
        for test in m.tests:
            assert (ours.ROOT / test.partition("::")[0]).is_file()


def test_every_wrong_change_of_ours_still_has_its_text() -> None:
    """A change whose text is gone is not tried, and nobody would know."""
    done = subprocess.run(
        [sys.executable, str(PLACE), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
