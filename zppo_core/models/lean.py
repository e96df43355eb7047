"""What transformers loads for others is left out."""

from __future__ import annotations

import sys

ASSISTED = "transformers.generation.candidate_generator"


def spare_scikit() -> None:
    """Have transformers' assisted decoding without scikit-learn; call before models are imported.

    It is there for lm-eval, and transformers takes it wherever it finds it: a second of each
    process that opens a model, for a measure that no engine here asks for.
    """
    if ASSISTED in sys.modules:
        return
    from transformers import utils

    asked = utils.is_sklearn_available
    utils.is_sklearn_available = lambda: False
    try:
        __import__(ASSISTED)
    finally:
        utils.is_sklearn_available = asked
