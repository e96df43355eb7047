"""`zppo completion`: a script by which the shell completes commands, options, scales and methods.

zppo completion bash >> ~/.bashrc
zppo completion zsh >> ~/.zshrc
zppo completion fish > ~/.config/fish/completions/zppo.fish
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from steps.commands import COMMANDS
from zppo_core.config import GPU_SCALES, LAYOUTS, SCALES
from zppo_core.config.methods import METHODS
from zppo_core.processes.command_line import command, reported

RUN_OPTIONS = ("--scale", "--method", "--seed", "--name", "--set", "--config", "--dry-run")
BASH = """_zppo() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words
    case $before in
        --scale) words="{scales}" ;;
        --method|--methods) words="{methods}" ;;
        *) if [ "$COMP_CWORD" -eq 1 ]; then words="{commands}"; else words="{options}"; fi ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    if [ ${{#COMPREPLY[@]}} -eq 0 ]; then COMPREPLY=($(compgen -f -- "$word")); fi
}}
complete -F _zppo zppo
"""


def script(shell: str, commands: Sequence[str]) -> str:
    """The completion of `shell`: bash, zsh or fish."""
    scales = " ".join([*SCALES, *(f"{s}@{layout}" for s in GPU_SCALES for layout in LAYOUTS)])
    words = {
        "scales": scales,
        "methods": " ".join(METHODS),
        "commands": " ".join(commands),
        "options": " ".join(["--help", *RUN_OPTIONS]),
    }
    if shell == "fish":
        lines = [
            "complete -c zppo -n __fish_use_subcommand -f -a '{commands}'",
            "complete -c zppo -l scale -x -a '{scales}'",
            "complete -c zppo -l method -x -a '{methods}'",
            *(f"complete -c zppo -l {o[2:]}" for o in RUN_OPTIONS[2:]),
        ]
        return "\n".join(lines).format(**words) + "\n"
    bash = BASH.format(**words)
    return f"autoload -U +X bashcompinit && bashcompinit\n{bash}" if shell == "zsh" else bash


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """`zppo completion`; 0."""
    reader = command("completion", __doc__ or "", "zppo completion bash >> ~/.bashrc")
    reader.add_argument("shell", choices=("bash", "zsh", "fish"))
    print(script(reader.parse_args(arguments).shell, list(COMMANDS)), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
