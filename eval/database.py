"""The command `python -m eval.database`; what it does is in `eval/report/database.py`."""

import sys

from eval.report.database import main

if __name__ == "__main__":
    sys.exit(main())
