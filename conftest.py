"""What all tests share, wherever they lie."""

LONGEST_NAME = 100  # characters


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names a test by the length of a long value, where pytest would name it by the value itself.

    A file of megabytes became a name of 77 MB, which the workers and the report then carried: the
    unit tests took two minutes instead of one.
    """
    if isinstance(val, (bytes, str)) and len(val) > LONGEST_NAME:
        return f"{argname} of {len(val)} {'bytes' if isinstance(val, bytes) else 'characters'}"
    return None
