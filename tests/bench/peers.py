"""Who is measured, what of their rows has to be the job's, and where they differ when it is not."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Compared(Enum):
    """How much of a peer's rows must be the job's."""

    EVERYTHING = "rows, reasons, counts and hashes"
    ALL_BUT_RULES = "rows, reasons and hashes"
    COUNTS = "numbers of rows"
    INPUT = "rows read"


@dataclass(frozen=True)
class Peer:
    """One way to do the work, or part of it.

    `once_from` is the size in MB from which one round is enough, `up_to` the largest one that it
    runs at: what takes ten times as long needs no third round to be told from the others, and what
    takes minutes is no noise.
    """

    name: str
    title: str
    engine: str
    compared: Compared
    does: str
    once_from: int = 5000
    up_to: int | None = None

    def runs(self, megabytes: int, number: int) -> bool:
        """Whether it runs in a round, counted from 0, at a size."""
        if self.up_to is not None and megabytes > self.up_to:
            return False
        return number == 0 or megabytes < self.once_from


JOB, NO_RULES, FLOOR, TEXTBOOK = "job", "no-rules", "floor", "textbook"
DUCKDB, POLARS = "duckdb", "polars"

# Those that are compared closely lie beside each other in a round.
PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            DUCKDB,
            "DuckDB",
            "duckdb",
            Compared.EVERYTHING,
            "the job's work in SQL, in one process that was just started",
        ),
        Peer(
            JOB,
            "the job",
            "spark",
            Compared.EVERYTHING,
            "`glue-jobs/src`, called as Glue calls it, with prod's configuration",
        ),
        Peer(
            NO_RULES,
            "the job without rules",
            "spark",
            Compared.ALL_BUT_RULES,
            "the same with an empty suite of quality rules",
        ),
        Peer(
            FLOOR,
            "the floor",
            "spark",
            Compared.INPUT,
            "Spark scans the text, casts it and writes it: no checks, no rejects, no deduplication",
        ),
        Peer(
            POLARS,
            "Polars",
            "polars",
            Compared.EVERYTHING,
            "the job's work as lazy queries, in one process that was just started",
            up_to=1000,  # it keeps the good rows: at 5 GB 24 GB of memory were not enough
        ),
        Peer(
            "polars-in-spark",
            "Polars in Spark",
            "spark",
            Compared.EVERYTHING,
            "the job with Polars inside `mapInArrow` in place of its reader and transformations:"
            " [an experiment](decisions/0011-no-polars-inside-spark.md)",
            once_from=1000,
            up_to=1000,
        ),
        Peer(
            TEXTBOOK,
            "the textbook job",
            "spark",
            Compared.COUNTS,
            "PySpark as tutorials have it: `inferSchema`, `cache()`, a `count()` for each check,"
            " `distinct()`, `dropDuplicates()`",
            once_from=1000,
            up_to=1000,
        ),
    )
}


class RowsDiffer(Exception):
    """A peer's rows are not the job's; the message says which."""


def compare(peer: Peer, found: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    """Raise RowsDiffer unless a peer found and wrote what the job did.

    Both are a worker's answer with `written`, which has rows and hash of what lies in the files.
    """
    expected, actual = _comparable(peer, job, job), _comparable(peer, found, job)
    differing = [
        f"{name} {actual[name]} instead of {expected[name]}"
        for name in expected
        if actual[name] != expected[name]
    ]
    if differing:
        raise RowsDiffer(f"{peer.title}: {'; '.join(differing)}")


def _comparable(peer: Peer, found: Mapping[str, Any], job: Mapping[str, Any]) -> dict[str, Any]:
    written = found["written"]
    rows = {f"{part} rows": written[part]["rows"] for part in ("loaded", "rejected")}
    match peer.compared:
        case Compared.INPUT:
            # Everything that it read is in its files.
            whole = job["rows_in"] if found is job else written["loaded"]["rows"]
            return {"rows read": whole}
        case Compared.COUNTS:
            return {"rows_in": found["rows_in"], **rows}
    accounted = ("rows_in", "loaded", "rejected", "superseded", "rejected_by_reason")
    rules = () if peer.compared is Compared.ALL_BUT_RULES else ("broken",)
    hashes = {f"{part} hash": written[part]["hash"] for part in ("loaded", "rejected")}
    return {name: found[name] for name in (*accounted, *rules)} | rows | hashes
