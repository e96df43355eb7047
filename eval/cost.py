"""The command `python -m eval.cost`; what it does is in `eval/report/cost.py`."""

import sys

from eval.report.cost import main

if __name__ == "__main__":
    sys.exit(main())
