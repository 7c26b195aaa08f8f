"""Saves ministack's state every few seconds, so that a crash or a kill loses little.

ministack itself saves on a graceful stop only, and starts empty where it cannot read what it saved.
Objects in S3 and the warehouse do not need this: they are on disk when a request has returned.
"""

# pylint: disable=protected-access
import hashlib
import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path

import ministack.app
from ministack.core import persistence
from ministack.core.responses import AccountRegionScopedDict, AccountScopedDict

from localaws import hooks
from localaws.settings import Settings

SAVE_SECONDS = 5
_ATTEMPTS = 5

logger = logging.getLogger("localaws.persistence")

_stopping = threading.Event()
_saving = threading.Lock()
_saved: dict[str, bytes] = {}  # service -> digest of what its file holds
_failed: set[str] = set()


def register() -> None:
    """Save on a graceful stop in the same way, and restore all or refuse to start."""
    hooks.replace(ministack.app, "save_all", save)
    hooks.replace(ministack.app, "_load_persisted_state", load)


def start(_settings: Settings) -> None:
    """Save from now on."""
    _stopping.clear()
    threading.Thread(target=_save_regularly, name="persistence", daemon=True).start()


def stop() -> None:
    """Stop saving; the last save is the graceful stop's own."""
    _stopping.set()


def check() -> None:
    """Raise RuntimeError if the last save left a service out."""
    if _failed:
        raise RuntimeError(f"cannot save the state of {', '.join(sorted(_failed))}")


def load() -> None:
    """Restore every service's state.

    Raises RuntimeError where that fails: a service that started empty would be saved empty.
    """
    for name, module in ministack.app._state_map.items():
        path = _path(name)
        if not path.exists():
            continue
        try:
            state = persistence.load_state(name)
            if state is None:
                raise ValueError("it is not a state file of this ministack")
            ministack.app._get_module(module).load_persisted_state(state)
        except Exception as error:
            raise RuntimeError(
                f"{path} cannot be restored ({error}): move it away to start without it, or "
                "run 'make reset'"
            ) from error


def save(services: dict[str, Callable[[], dict | None]]) -> None:
    """Write the state of each service that has changed since it was last written."""
    with _saving:
        for name, get_state in services.items():
            try:
                content = _serialized(name, get_state)
                digest = hashlib.sha256(content).digest()
                if _saved.get(name) != digest:
                    _write(_path(name), content)
                    _saved[name] = digest
                _failed.discard(name)
            except Exception:  # pylint: disable=broad-exception-caught
                logger.exception("cannot save the state of %s", name)
                _failed.add(name)


def _save_regularly() -> None:
    while not _stopping.wait(SAVE_SECONDS):
        save(ministack.app._build_persistence_save_dict())


def _path(name: str) -> Path:
    return Path(persistence.STATE_DIR) / f"{name}.json"


def _serialized(name: str, get_state: Callable[[], dict | None]) -> bytes:
    """Return the file's content, empty where the service has no state.

    Requests go on meanwhile, so a service may change while it is read; then it is read again.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            state = get_state()
            if not _has_content(state):
                return b""
            version = persistence._state_format_version(name)
            return json.dumps(
                {"__ministack_format__": version, "payload": state},
                default=persistence._json_default,
            ).encode()
        except RuntimeError as error:  # a dictionary changed size during iteration
            if attempt == _ATTEMPTS:
                raise RuntimeError(f"the state of {name} keeps changing") from error
    raise AssertionError("unreachable")


def _has_content(state: object) -> bool:
    """Whether anything is in the state; ministack loads a service at the start for its file."""
    if isinstance(state, (AccountScopedDict, AccountRegionScopedDict)):
        return bool(state._data)
    if isinstance(state, dict):
        return any(map(_has_content, state.values()))
    return bool(state)


def _write(path: Path, content: bytes) -> None:
    """Replace the file whole: a kill leaves the old state or the new one. No content, no file."""
    if not content:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(exist_ok=True)
    draft = path.with_suffix(".json.new")
    draft.write_bytes(content)
    draft.replace(path)
