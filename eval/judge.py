"""The command `python -m eval.judge calibrate`; what it does is in `eval/calibrate.py`."""

import sys

from eval.calibrate import main

if __name__ == "__main__":
    sys.exit(main())
