"""`zppo show RUN`: a run as one HTML file, its curves and its transcripts, without a server.

The file holds everything: pictures, styles, a small script, and up to 10,000 rollouts as compressed
JSON. It is at most 5 MB, so that long texts of a large run are cut in their middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eval.report.connection import DEFAULT_DATABASE
from steps.cards.whole_run import ROLLOUTS, html_of
from zppo_core.errors import UserError
from zppo_core.processes.command_line import command, reported


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line above; 0, or 2 with a line for each fault."""
    parser = command("show", __doc__ or "", "zppo show RUN --out run.html")
    parser.add_argument("run", nargs="?", help="run key or its beginning; default: the latest run")
    parser.add_argument("--database", default=DEFAULT_DATABASE)
    parser.add_argument("--out", default="", help="default: results/RUN.html")
    parser.add_argument("--rollouts", type=int, default=ROLLOUTS, help="at most so many")
    options = parser.parse_args(arguments)
    if options.rollouts < 1:
        raise UserError(f"--rollouts {options.rollouts}: 1 or more")
    key, html = html_of(options.database, options.run, options.rollouts)
    path = Path(options.out or f"results/{key}.html")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(html, encoding="utf-8", errors="replace")
    except OSError as fault:
        raise UserError(f"{path} cannot be written ({fault.strerror}): choose --out") from fault
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; open it in a browser")
    return 0
