"""Errors a user can mend: one line that says what is wrong and what to do."""


class UserError(Exception):
    """A fault of configuration or environment, raised early; the text says the fix."""
