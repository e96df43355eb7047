"""A shell that has read the script completes commands, scales and methods."""

import shutil
import subprocess

import pytest

from steps import cli
from steps.completion import main, script


def completed(*words: str) -> set[str]:
    """What bash offers for the last of `words`."""
    line = " ".join(f"'{w}'" for w in words)
    asked = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _zppo; echo ${{COMPREPLY[@]}}"
    code = f"{script('bash', list(cli.COMMANDS))}\n{asked}"
    said = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    return set(said.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_commands_scales_and_methods() -> None:
    assert completed("zppo", "do") == {"doctor"}
    assert completed("zppo", "") == set(cli.COMMANDS)
    assert completed("zppo", "run", "--sc") == {"--scale"}
    assert completed("zppo", "run", "--scale", "4B@on") == {"4B@one-gpu"}
    assert "grpo_replay" in completed("zppo", "run", "--method", "grpo")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_every_command(shell: str, capsys) -> None:
    assert main([shell]) == 0
    said = capsys.readouterr().out
    for name in cli.COMMANDS:
        assert name in said
    if program := shutil.which(shell):
        subprocess.run([program, "-n", "-c", said], check=True, timeout=20)
