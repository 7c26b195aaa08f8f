"""Shows what was changed by hand in an environment, each with where, expected and found.

The last line is the verdict, and so is the exit code: 0 no drift, 2 drift, 1 it cannot be told.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from botocore.exceptions import ClientError

from ops.aws import is_missing
from ops.drift import aliases, buckets, functions, state_machine, stacks
from ops.drift.baseline import Baseline, find, release_findings
from ops.drift.findings import Finding
from ops.environment import Environment, OperationError, command
from ops.release import lock
from ops.release.target import caller

DRIFT = 2  # the exit code


def findings(
    environment: Environment, baseline: Baseline, detection: stacks.Detection
) -> Iterator[Finding]:
    """Yield everything that is not as the release has it."""
    machine = detection.expected("AWS::StepFunctions::StateMachine")
    yield from aliases.findings(environment, baseline)
    yield from state_machine.findings(
        environment, baseline, machine.get(environment.state_machine_arn, {})
    )
    yield from functions.findings(
        environment, baseline, detection.expected("AWS::Lambda::Function")
    )
    yield from release_findings(environment, baseline)
    yield from stacks.findings(environment, baseline)
    yield from detection.findings()
    yield from buckets.findings(environment, detection.expected("AWS::S3::Bucket"))


def _require_records(environment: Environment) -> None:
    """Raise OperationError where there are no records: without its bucket, nothing was deployed."""
    try:
        environment.client("s3").head_bucket(Bucket=environment.artifact_bucket)
    except ClientError as error:
        if not is_missing(error):
            raise
        raise OperationError(
            f"{environment.name} is not deployed: there is no bucket "
            f"{environment.artifact_bucket}; run: make deploy ENV={environment.name}"
        ) from error


def report(environment: Environment, folder: Path) -> int:
    """Print what was found and return how much that is; raise OperationError if it is not all."""
    _require_records(environment)
    if held := lock.holder(environment):
        print(f"note: what {held} changes may show as drift", file=sys.stderr)
    baseline = find(environment, folder)
    print(f"{environment.name}: {baseline.release} should be live", file=sys.stderr)
    detection = stacks.detect(environment, baseline)
    found = list(findings(environment, baseline, detection))
    for finding in found:
        print("\n".join(finding.lines()))
    if detection.unchecked:
        print("CloudFormation has no drift detection for, so that nobody has looked at:")
        print("\n".join(f"    {resource}" for resource in detection.unchecked))
    if detection.failed:
        unread = "CloudFormation could not read:\n" + "\n".join(detection.failed)
        if not found:
            raise OperationError(f"whether there is drift cannot be told: {unread}")
        print(unread, file=sys.stderr)
    count = f"{len(found)} difference{'s' if len(found) > 1 else ''} from" if found else "none from"
    print(f"drift: {count} {baseline.release} in {environment.name}")
    return len(found)


@command
def main() -> int:
    """Print the drift of one environment; return 0 for none, 2 for some, 1 for errors."""
    parser = argparse.ArgumentParser(
        prog="python -m ops.drift.detect",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--env", required=True)
    environment = Environment.load(parser.parse_args().env)
    caller(environment)
    with tempfile.TemporaryDirectory() as folder:
        return DRIFT if report(environment, Path(folder)) else 0


if __name__ == "__main__":
    sys.exit(main())
