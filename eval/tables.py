"""The command `python -m eval.tables`; what it does is in `eval/report/tables.py`."""

import sys

from eval.report.tables import main

if __name__ == "__main__":
    sys.exit(main())
