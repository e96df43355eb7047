"""`python -m zppo_core`: the `zppo` command."""

import sys

from steps.cli import main

if __name__ == "__main__":
    sys.exit(main())
