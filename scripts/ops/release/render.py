"""Fills the ${placeholders} of a state machine definition.

The built definition is the same for every environment; what differs, ARNs and names, is filled in
at deployment. CloudFormation's own substitutions are not used: a release must be renderable on its
own.
"""

import json
import re
from collections.abc import Mapping

PLACEHOLDER = re.compile(r"\$\{([A-Za-z][A-Za-z0-9]*)\}")
# Values land inside JSON strings and inside JSONata strings, so that a quote or a brace would
# change the code.
PLAIN_VALUE = re.compile(r"[A-Za-z0-9._:/@+=,-]+")


class RenderError(Exception):
    """The definition cannot be filled in; the message names the placeholders."""


def placeholders(template: str) -> set[str]:
    """Returns the names of a definition's placeholders."""
    return set(PLACEHOLDER.findall(template))


def render(template: str, values: Mapping[str, str]) -> str:
    """Returns the definition with every placeholder filled in.

    Raises RenderError for a placeholder without a value, a value without a placeholder, a value
    that is not plain text, or a result that is not JSON.
    """
    names = placeholders(template)
    if unfilled := sorted(names - set(values)):
        raise RenderError(f"no value for {', '.join(unfilled)}: give each as Name=value")
    if unknown := sorted(set(values) - names):
        known = ", ".join(sorted(names)) or "none"
        raise RenderError(f"no placeholder {', '.join(unknown)} in the definition (it has {known})")
    for name, value in values.items():
        if not PLAIN_VALUE.fullmatch(value):
            raise RenderError(
                f"{name}={value!r} is not plain text: expected an ARN, a URI or a name"
            )
    rendered = PLACEHOLDER.sub(lambda match: values[match[1]], template)
    try:
        json.loads(rendered)
    except ValueError as error:
        raise RenderError(f"the definition is not JSON: {error}") from error
    return rendered
