"""Names of runs and of their files: ASCII, short enough for every service they pass through."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

STEM_LENGTH = 40
SAFE_NAME_LENGTH = 100
SUFFIXES = (".csv.gz", ".csv")


def run_id(key: str, content_id: str, attempt: int = 1) -> str:
    """Returns the name of the run of one object: at most 64 characters of [A-Za-z0-9_-].

    The same key and content always give the same name, so that a repeated event starts nothing; a
    later attempt at an object whose run failed is numbered.
    """
    stem, _ = _split_suffix(key.rsplit("/", 1)[-1])
    digest = hashlib.sha256(f"{key}{content_id}".encode()).hexdigest()[:12]
    number = f"-{attempt}" if attempt > 1 else ""
    return f"{_ascii(stem, r'[^A-Za-z0-9_-]+')[:STEM_LENGTH]}-{digest}{number}"


def safe_names(names: Iterable[str]) -> list[str]:
    """Returns an ASCII file name for each name, in order, all different; .csv and .csv.gz stay."""
    taken: set[str] = set()
    return [_unused(_safe_name(name), taken) for name in names]


def unique_names(names: Iterable[str]) -> list[str]:
    """Returns the names, in order, a repeated one numbered: a.csv, a-2.csv."""
    taken: set[str] = set()
    return [_unused(name, taken) for name in names]


def _safe_name(name: str) -> str:
    stem, suffix = _split_suffix(name)
    return _ascii(stem, r"[^A-Za-z0-9._-]+")[:SAFE_NAME_LENGTH] + suffix.lower()


def _unused(name: str, taken: set[str]) -> str:
    stem, suffix = _split_suffix(name)
    candidate, number = name, 1
    while candidate.lower() in taken:
        number += 1
        candidate = f"{stem}-{number}{suffix}"
    taken.add(candidate.lower())
    return candidate


def _split_suffix(name: str) -> tuple[str, str]:
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)], name[-len(suffix) :]
    return name, ""


def _ascii(text: str, unwanted: str) -> str:
    """Returns text without accents, each stretch of unwanted characters a hyphen; never empty.

    A leading dot or underscore goes too: Spark ignores such files.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(unwanted, "-", plain).strip("-._") or "file"
