"""The rounds: in each, every peer does the same work once, one after another.

The machine may be busy with other things, so a peer is only ever compared with what another one
took in the same round, a moment before or after.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ops.config import load_config

from tests.bench.data import count_files, make_files
from tests.bench.peers import JOB, PEERS, Peer, compare
from tests.bench.processes import Worker, worker

WARM_UP_MEGABYTES = 100
# By its fourth run of a peer Java has compiled what it will: of the job over 100 MB, the second
# took half as many CPU seconds again as the fourth.
WARM_UPS = 3


@dataclass(frozen=True)
class Run:
    """What one run of a peer took; `round` counts from 0, memory is the most it ever had."""

    peer: str
    megabytes: int
    round: int
    seconds: float
    cpu_seconds: float
    peak_gigabytes: float


class Bench:
    """Runs rounds in a folder that git ignores."""

    def __init__(self, folder: Path, say: Callable[[str], None]):
        self._folder = folder
        self._say = say
        self._spark: Worker | None = None
        # What was measured so far: `runs`, each a Run, and `rows`, those of the job by size.
        self.measured: dict[str, Any] = {"runs": [], "rows": {}}

    def run(self, sizes: Sequence[int], peers: Sequence[Peer], rounds: int) -> None:
        """Measure; raise RowsDiffer or WorkFailed."""
        self._write_configurations()
        for megabytes in sizes:
            self._say(f"{megabytes} MB: the files")
            make_files(megabytes, self._data(megabytes))
        with ExitStack() as stack:
            self._spark = stack.enter_context(worker("spark"))
            for peer in [peer for peer in peers if peer.engine == "spark"] * WARM_UPS:
                self._say(f"warming up: {peer.title}")
                self._work(peer, min(sizes), limit=count_files(WARM_UP_MEGABYTES))
            # The largest first: Java has compiled all by the smallest, where that would show most.
            for megabytes in sorted(sizes, reverse=True):
                rows = self._rounds(megabytes, peers, rounds)
                self.measured["rows"][str(megabytes)] = rows

    def _rounds(self, megabytes: int, peers: Sequence[Peer], rounds: int) -> dict[str, int]:
        job: dict[str, Any] = {}
        for number in range(rounds):
            found: dict[str, dict[str, Any]] = {}
            for peer in peers:
                if not peer.runs(megabytes, number):
                    continue
                found[peer.name], run = self._measure(peer, megabytes, number)
                self.measured["runs"].append(asdict(run))
                self._say(
                    f"{megabytes} MB, round {number + 1} of {rounds}: {peer.title}:"
                    f" {run.seconds:.1f} s, {run.cpu_seconds:.1f} s of CPU"
                )
            job = found.get(JOB, job)
            for name, outcome in found.items():
                compare(PEERS[name], outcome, job)
        return {key: job[key] for key in ("rows_in", "loaded", "rejected", "superseded")}

    def _measure(self, peer: Peer, megabytes: int, number: int) -> tuple[dict[str, Any], Run]:
        found, cpu_seconds, peak = self._work(peer, megabytes)
        with worker("duckdb") as reader:
            found["written"] = reader.ask("content", {"output": str(self._output(peer))})
        shutil.rmtree(self._output(peer))
        run = Run(peer.name, megabytes, number, found["seconds"], cpu_seconds, peak)
        return found, run

    def _work(
        self, peer: Peer, megabytes: int, limit: int | None = None
    ) -> tuple[dict[str, Any], float, float]:
        """Let a peer do its work; return its answer, CPU seconds and peak memory."""
        output = self._output(peer)
        shutil.rmtree(output, ignore_errors=True)
        files = make_files(megabytes, self._data(megabytes))[:limit]
        work = {
            "files": [str(file) for file in files],
            "output": str(output),
            "config": str(self._folder / "config.json"),
            "config_without_rules": str(self._folder / "config-without-rules.json"),
        }
        if peer.engine == "spark":
            return self._ask(self._spark, peer, work)
        with worker(peer.engine) as fresh:
            return self._ask(fresh, peer, work)

    @staticmethod
    def _ask(process: Worker, peer: Peer, work: dict) -> tuple[dict[str, Any], float, float]:
        begun = process.cpu_seconds()
        found = process.ask(peer.name, work)
        return found, process.cpu_seconds() - begun, process.peak_gigabytes()

    def _data(self, megabytes: int) -> Path:
        return self._folder / f"{megabytes}MB"

    def _output(self, peer: Peer) -> Path:
        return self._folder / "output" / peer.name

    def _write_configurations(self) -> None:
        """Write what the job reads: prod's merged configuration, and the same without rules."""
        self._folder.mkdir(parents=True, exist_ok=True)
        datasets = load_config("prod", []).values["datasets"]
        without = datasets | {"products": datasets["products"] | {"expectations": {}}}
        for name, values in (("config", datasets), ("config-without-rules", without)):
            text = json.dumps({"datasets": values})
            (self._folder / f"{name}.json").write_text(text, encoding="utf-8")
