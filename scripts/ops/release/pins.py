"""What a release calls: the function versions, objects and job that its definition pins."""

import re
from dataclasses import dataclass

FUNCTION_VERSION = re.compile(r"arn:[\w-]+:lambda:[\w-]+:\d+:function:([\w-]+):(\d+)")
RELEASE_OBJECT = re.compile(r"s3://([a-z0-9.-]+)/(releases/[A-Za-z0-9._/+-]+)")
JOB_NAME = re.compile(r'"JobName":\s*"([^"]+)"')


@dataclass(frozen=True)
class Pins:
    """What one definition calls, each thing once."""

    functions: dict[str, str]  # the version's ARN of each function, by the function's name
    objects: tuple[tuple[str, str], ...]  # (bucket, key)
    jobs: tuple[str, ...]


def pins(definition: str) -> Pins:
    """Return what a rendered definition calls."""
    functions = {match[1]: match[0] for match in FUNCTION_VERSION.finditer(definition)}
    objects = dict.fromkeys(RELEASE_OBJECT.findall(definition))
    return Pins(functions, tuple(objects), tuple(dict.fromkeys(JOB_NAME.findall(definition))))
