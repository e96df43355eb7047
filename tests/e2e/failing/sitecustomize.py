"""Makes one function of the steps raise, for the process tree that has ZPPO_TEST_FAIL set.

ZPPO_TEST_FAIL="steps.epoch:one_step@2" raises at the second call in a process (default: the first);
"eval.scores:score~index=1" counts only calls with that text in their arguments.
"""

import importlib.abc
import importlib.util
import os
import sys


class Failing(importlib.abc.MetaPathFinder):
    """Loads the named module as usual, then replaces the named function."""

    def __init__(self, target: str) -> None:
        target, _, self.words = target.partition("~")
        place, _, call = target.partition("@")
        self.module, self.function = place.split(":")
        self.call = int(call or 1)

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self.module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        execute = spec.loader.exec_module

        def exec_module(module) -> None:
            execute(module)
            real, calls = getattr(module, self.function), []

            def failing(*arguments, **named):
                calls.extend([1] if self.words in repr(arguments) else [])
                if self.words in repr(arguments) and len(calls) == self.call:
                    raise RuntimeError("made to fail by a test")
                return real(*arguments, **named)

            setattr(module, self.function, failing)

        spec.loader.exec_module = exec_module
        return spec


if os.environ.get("ZPPO_TEST_FAIL"):
    sys.meta_path.insert(0, Failing(os.environ["ZPPO_TEST_FAIL"]))
