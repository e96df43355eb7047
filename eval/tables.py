"""Tables from the result database.

python -m eval.tables summary [--json] [--run KEY] [--database PATH]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from eval.database import DEFAULT_DATABASE
from eval.summary import summary, summary_text
from zppo_core.errors import UserError

__all__ = ["summary", "summary_text"]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line above; 0, or 2 with one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m eval.tables")
    parser.add_argument("command", choices=("summary",))
    parser.add_argument("--json", action="store_true", help="data instead of text")
    parser.add_argument("--run", help="run key or its beginning; default: the latest run")
    parser.add_argument("--database", default=DEFAULT_DATABASE)
    options = parser.parse_args(arguments)
    try:
        data = summary(options.database, options.run)
        print(json.dumps(data, indent=2) if options.json else summary_text(data))
    except UserError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
