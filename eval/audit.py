"""The command `python -m eval.audit`; what it does is in `eval/report/audit.py`."""

import sys

from eval.report.audit import main

if __name__ == "__main__":
    sys.exit(main())
