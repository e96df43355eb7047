"""The command `python -m eval.evidence`; what it does is in `eval/report/evidence.py`."""

import sys

from eval.report.evidence import main

if __name__ == "__main__":
    sys.exit(main())
