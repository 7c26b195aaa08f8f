"""Errors that end a run; the state machine catches each by the name of its class.

Each message is one sentence that names the thing, the place and the remedy: it reaches the person
who sent the file.
"""


class PipelineError(Exception):
    """A run cannot go on, and trying again would not help."""


class InvalidSourceFile(PipelineError):
    """The source file is not one that the dataset accepts."""


class RowAccountMismatch(PipelineError):
    """The job's report does not account for every row."""


class QualityBreach(PipelineError):
    """The rows break a critical quality rule of the dataset."""


class ConfigurationError(PipelineError):
    """The release's configuration cannot serve this run."""


class WarehouseError(PipelineError):
    """The warehouse refuses the load."""
