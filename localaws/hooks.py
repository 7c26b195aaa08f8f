"""The only way into ministack's internals: every hooked name must exist in the pinned version."""

import importlib.metadata
from types import ModuleType
from typing import Any

MINISTACK_VERSION = "1.5.33"


class HookError(RuntimeError):
    """The installed ministack is not the one that localaws was written against."""


def check_version() -> None:
    """Raise HookError unless the installed ministack is exactly MINISTACK_VERSION."""
    installed = importlib.metadata.version("ministack")
    if installed != MINISTACK_VERSION:
        raise HookError(
            f"ministack {installed} is installed, but localaws hooks the internals of "
            f"{MINISTACK_VERSION}: run 'make setup', or adapt localaws/ and change "
            "MINISTACK_VERSION in localaws/hooks.py"
        )


def original(owner: ModuleType | type | dict, name: str) -> Any:
    """Return what ``owner`` (a module, a class or a dictionary) has under ``name``.

    Raises HookError where the name does not exist, so that a hook can never silently hook nothing.
    """
    found = owner if isinstance(owner, dict) else vars(owner)
    if name not in found:
        where = getattr(owner, "__name__", "dictionary")
        raise HookError(f"ministack {MINISTACK_VERSION} has no {name!r} in {where}")
    return found[name]


def replace(owner: ModuleType | type | dict, name: str, new: Any) -> Any:
    """Put ``new`` in the place of ``owner``'s existing ``name``; return what was there."""
    old = original(owner, name)
    if isinstance(owner, dict):
        owner[name] = new
    else:
        setattr(owner, name, new)
    return old


def add(mapping: dict, name: str, new: Any) -> None:
    """Register ``new`` under a ``name`` that must still be free.

    Raises HookError where ministack has something of that name by now: it would be hidden.
    """
    if name in mapping:
        raise HookError(f"ministack {MINISTACK_VERSION} already has {name!r}; use replace()")
    mapping[name] = new
