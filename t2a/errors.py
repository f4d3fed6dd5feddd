"""Errors a user can act on: the sentence says what went wrong, where, and what to do."""


class T2AError(Exception):
    """A failure with a remedy; commands print its sentence and leave with `exit_code`."""

    exit_code = 1


class ConfigError(T2AError):
    """A recipe, an override or an argument is wrong; nothing was started."""

    exit_code = 2


class DataError(T2AError):
    """A corpus, a shard or too many of its rows cannot be used."""


class CheckpointError(T2AError):
    """A checkpoint or a model folder is missing, incomplete or does not fit."""


class StorageError(T2AError):
    """A place to read from or write to cannot be reached or used."""


class InterruptionError(T2AError):
    """A run was asked to end before its last step; the same command goes on with it."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, run it again
