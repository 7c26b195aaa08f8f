"""What the job would cost on Glue, as docs/costs.md: worked out, since nothing here ran on AWS."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.page import GIGABYTE, size_name
from tests.bench.peers import JOB
from tests.bench.ratios import Runs, typical

# Assumptions, to be checked against AWS's price list before anybody relies on them: us-east-1, USD.
DPU_HOUR = {"STANDARD": 0.44, "FLEX": 0.29}
MINIMUM_SECONDS = 60  # what a run is billed for at least
# Worker type -> (DPUs, vCPUs).
WORKERS = {"G.025X": (0.25, 2), "G.1X": (1, 4), "G.2X": (2, 8), "G.4X": (4, 16), "G.8X": (8, 32)}
DRIVERS = 1  # of a job's workers, those that run no tasks
SIZES = (100, 1000, 5000)


@dataclass(frozen=True)
class Job:
    """How an environment sizes its Glue job."""

    environment: str
    worker_type: str
    workers: int
    execution_class: str

    @classmethod
    def of(cls, environment: str, settings: Mapping[str, Any]) -> "Job":
        """Read the parameters of the application's stack."""
        parameters = settings["parameters"]["application"]
        return cls(
            environment,
            parameters["GlueWorkerType"],
            parameters["GlueNumberOfWorkers"],
            parameters["GlueExecutionClass"],
        )

    def seconds(self, megabytes: int, cpu_seconds_per_gigabyte: float) -> float:
        """Return what a run takes once it has started, if cores are all that it waits for."""
        _, cores = WORKERS[self.worker_type]
        cpu_seconds = cpu_seconds_per_gigabyte * megabytes / GIGABYTE
        return cpu_seconds / (cores * max(1, self.workers - DRIVERS))

    def price(self, seconds: float) -> float:
        """Return what a run of so many seconds costs in USD."""
        units, _ = WORKERS[self.worker_type]
        hours = max(MINIMUM_SECONDS, seconds) / 3600
        return hours * units * self.workers * DPU_HOUR[self.execution_class]


def throughput(runs: Runs, sizes: Sequence[int]) -> tuple[int, float]:
    """Return the largest size that the job ran at, and the CPU seconds that a GB of it took."""
    largest = max(size for size in sizes if typical(runs, JOB, size) is not None)
    return largest, typical(runs, JOB, largest, "cpu_seconds") * GIGABYTE / largest


def costs_page(measured: Mapping[str, Any], jobs: Sequence[Job]) -> str:
    """Return the page for a run of the bench and the environments' jobs."""
    return "\n".join(_lines(measured, jobs)) + "\n"


def _lines(measured: Mapping[str, Any], jobs: Sequence[Job]) -> Iterator[str]:
    size, cpu_seconds = throughput(measured["runs"], measured["sizes"])
    yield "# Costs"
    yield ""
    yield "Written by `make bench`; never edited by hand."
    yield ""
    yield (
        f"The job took {cpu_seconds:.0f} CPU seconds a GB at {size_name(size)}"
        f" ({measured['facts']['date']}, {measured['facts']['machine']}). From this follows the"
        " table, **if** a vCPU of Glue is as fast as a core of that machine and nothing else is"
        " waited for. Nothing was run on AWS, and the prices are assumptions to be checked:"
        f" ${DPU_HOUR['STANDARD']:.2f} a DPU-hour (FLEX ${DPU_HOUR['FLEX']:.2f}) in us-east-1,"
        f" {MINIMUM_SECONDS} s at least. All workers are paid for; {DRIVERS} of them, the driver,"
        " runs no tasks."
    )
    yield ""
    yield "| environment | workers | one run of | seconds | USD | USD for 30 runs |"
    yield "|---|---|--:|--:|--:|--:|"
    for job in jobs:
        for megabytes in SIZES:
            seconds = job.seconds(megabytes, cpu_seconds)
            price = job.price(seconds)
            yield (
                f"| {job.environment} | {job.workers} × {job.worker_type},"
                f" {job.execution_class} | {size_name(megabytes)} | {seconds:.0f}"
                f" | {price:.4f} | {30 * price:.2f} |"
            )
