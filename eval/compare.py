"""The command `python -m eval.compare`; what it does is in `eval/report/compare.py`."""

import sys

from eval.report.compare import main

if __name__ == "__main__":
    sys.exit(main())
