"""The command `python -m eval.figures`; what it does is in `eval/report/figures.py`."""

import sys

from eval.report.figures import main

if __name__ == "__main__":
    sys.exit(main())
