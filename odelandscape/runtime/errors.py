"""The errors that a user's input can cause: one sentence with the argument, what was given and what is allowed."""


class UserError(ValueError):
    """An argument, a file or a folder that cannot be used. The command line prints it and returns 2.

    Any other exception is a fault of this package and keeps its traceback.
    """


class NoSuchFamilyError(UserError):
    """There is no family of fixed points with this branch and number of anti-aligned students."""
