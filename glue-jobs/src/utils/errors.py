"""Errors that end a run; the class is named in the run's failure, the message is for a person."""


class ConfigurationError(Exception):
    """The job was started with arguments or a configuration that it cannot use."""


class SourceFormatError(Exception):
    """A source file is not what its dataset describes, so none of its rows can be trusted."""


class SourceReadError(Exception):
    """A source file is not there or cannot be read to its end."""


class RowAccountMismatch(Exception):
    """Rows in are not the sum of rows loaded, rejected and superseded."""
