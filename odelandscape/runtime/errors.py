"""Errors that a user's input or machine can cause: one sentence with the cause and what is allowed."""


class UserError(ValueError):
    """An argument, a file or a folder that cannot be used: named, with what was given and what is allowed.

    The command line prints it and returns 2. Any exception that is neither this nor an `OperationError` is a
    fault of this package and keeps its traceback.
    """


class NoSuchFamilyError(UserError):
    """There is no family of fixed points with this branch and number of anti-aligned students."""


class OperationError(RuntimeError):
    """What was asked for could not be done, though the arguments are right. The command line returns 1."""


class StoreError(OperationError):
    """A folder of results cannot be written or read on."""


class MissingExtraError(OperationError, ImportError):
    """An optional dependency that this needs is not installed."""
