"""The checks after a deploy: is what is live the release on record, whole, and does it work?

All of them are made, each is a line; one that fails says what to do. What they came to is kept as
evidence/postcheck/<version>.json in the environment's artifact bucket: the evidence that a
promotion to the next environment asks for. The last run counts, so that a later failure voids it.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from ops.data.smoke import SMOKE_RUN, smoke_test
from ops.data.warehouse import LIVE_SCHEMA, Warehouse
from ops.environment import LIVE, Environment, OperationError, command
from ops.release import evidence, lock
from ops.release.checklist import Check, CheckFailed, Outcome, make_all, require
from ops.release.deploys import SUCCEEDED, Record, history
from ops.release.evidence import Release
from ops.release.live import LiveRelease, live_release, routes, version_number
from ops.release.releases import download
from ops.release.rollback import lacks
from ops.release.switch import TRIGGER

FAILED_STATES = ("FAILED", "TIMED_OUT", "ABORTED")
# What a run refuses because of its file is no fault of the release.
FAULT_OF_THE_FILE = "InvalidSourceFile"
LOGS_TIMEOUT_SECONDS = 120  # CloudWatch Logs takes a while to show what it has
BLOCKED = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")


class Postcheck:
    """The checks of what is live in one environment, by the record that says what should be."""

    def __init__(self, environment: Environment, live: LiveRelease, record: Record, root: Path):
        self._environment = environment
        self._live = live
        self._record = record
        self._root = root  # where the release is fetched to
        self._smoke_started = datetime.now(UTC)

    def checks(self) -> Iterator[Check]:
        """Yield the checks, in the order of the runbook."""
        name = self._environment.name
        again = f"make deploy ENV={name} VERSION={self._record['to']}"
        yield Check("lock", self._lock, "wait for that command, then check again")
        yield Check("live", self._on_record, f"{again}, or make rollback ENV={name}")
        yield Check(
            "artifacts",
            self._artifacts,
            "find out who changed what is written once, and deploy a new version",
        )
        yield Check("pins", self._pins, f"{again}, or make rollback ENV={name}")
        yield Check("trigger", self._trigger, again)
        yield Check("alarms", self._alarms, f"look into it (make status ENV={name}), then again")
        yield Check(
            "executions",
            self._executions,
            f"look into them; if the release is at fault: make rollback ENV={name}",
        )
        yield Check("smoke test", self._smoke, f"make rollback ENV={name}, then look into the run")
        yield Check("warehouse", self._warehouse, "see the workgroup's status and its network")
        yield Check("logs", self._logs, "see the log group, its key and the role's right to write")
        yield Check("topics", self._topics, f"{again}; have the subscription confirmed")
        yield Check("buckets", self._buckets, again)

    # ---- what is live --------------------------------------------------------------------------

    def _lock(self) -> str:
        held = lock.holder(self._environment)
        return require([f"{self._environment.name} is locked: {held}"] if held else [], "free")

    def _on_record(self) -> str:
        expected, weights = self._record["live"], routes(self._environment)
        faults = []
        if self._live.release != self._record["to"]:
            faults.append(f"{self._live.release} is live; on record is {self._record['to']}")
        if weights != {expected["state_machine_version_arn"]: 100}:
            found = ", ".join(f"{_short(arn)} {weight} %" for arn, weight in weights.items())
            faults.append(
                f"executions go to {found}; on record is "
                f"{_short(expected['state_machine_version_arn'])} for all of them"
            )
        alias = self._environment.client("lambda").get_alias(
            FunctionName=self._environment.function(TRIGGER), Name=LIVE
        )
        version = version_number(expected["trigger_version_arn"])
        if alias["FunctionVersion"] != str(version) or alias.get("RoutingConfig", {}).get(
            "AdditionalVersionWeights"
        ):
            faults.append(
                f"the trigger's alias is at version {alias['FunctionVersion']}; on record is "
                f"{version}"
            )
        return require(
            faults, f"{self._live.release}, version {version_number(self._live.version_arn)}"
        )

    def _artifacts(self) -> str:
        environment = self._environment
        download(
            self._record["to"], environment.artifact_bucket, self._root, environment.client("s3")
        )
        found, recorded = Release.of(self._root).manifest_sha256, self._record["manifest_sha256"]
        return require(
            [f"the manifest is {found}; on record is {recorded}"] if found != recorded else [],
            f"all match manifest {found[:12]}",
        )

    def _pins(self) -> str:
        absent = lacks(self._environment, self._record)
        return require(
            [f"there is no {what}" for what in absent],
            f"{' '.join(self._live.functions)}, all there",
        )

    def _trigger(self) -> str:
        client, rule = self._environment.client("events"), f"{self._environment.prefix}-inbox"
        state = client.describe_rule(Name=rule)["State"]
        targets = [target["Arn"] for target in client.list_targets_by_rule(Rule=rule)["Targets"]]
        alias = f"function:{self._environment.function(TRIGGER)}:{LIVE}"
        faults = [] if state == "ENABLED" else [f"the rule {rule} is {state}"]
        if not any(target.endswith(alias) for target in targets):
            faults.append(f"the rule {rule} reaches {', '.join(targets) or 'nothing'}, not {alias}")
        return require(faults, f"{rule} reaches {alias}")

    # ---- how it has done since the switch ------------------------------------------------------

    def _alarms(self) -> str:
        pages = (
            self._environment.client("cloudwatch")
            .get_paginator("describe_alarms")
            .paginate(AlarmNamePrefix=f"{self._environment.prefix}-")
        )
        alarms = [
            alarm
            for page in pages
            for alarm in (*page["MetricAlarms"], *page.get("CompositeAlarms", []))
        ]
        faults = [
            f"{alarm['AlarmName']}: {alarm.get('StateReason', '')}"
            for alarm in alarms
            if alarm["StateValue"] == "ALARM"
        ]
        return require(
            faults or ([] if alarms else ["there are none"]), f"{len(alarms)}, all quiet"
        )

    def _executions(self) -> str:
        since = datetime.fromisoformat(self._record["started"])
        client, refused, faults = self._environment.client("stepfunctions"), 0, []
        for status in FAILED_STATES:
            pages = client.get_paginator("list_executions").paginate(
                stateMachineArn=self._environment.state_machine_arn, statusFilter=status
            )
            for execution in (found for page in pages for found in page["executions"]):
                if execution["startDate"] < since:
                    break  # the newest come first
                if execution["name"].startswith(SMOKE_RUN):
                    continue  # the smoke test has a check of its own
                details = client.describe_execution(executionArn=execution["executionArn"])
                if details.get("error") == FAULT_OF_THE_FILE:
                    refused += 1
                elif details.get("stateMachineVersionArn") == self._live.version_arn:
                    faults.append(f"{execution['name']} {status}: {details.get('error', '')}")
        bad = f"; {refused} refused a file" if refused else ""
        return require(faults, f"none failed since {since:%Y-%m-%d %H:%M:%S} UTC{bad}")

    def _smoke(self) -> str:
        self._smoke_started = datetime.now(UTC)
        test = smoke_test(self._environment)
        return f"{test.file.fingerprint}, as expected"

    def _warehouse(self) -> str:
        warehouse = Warehouse(self._environment)
        tables = [
            f"{dataset['target']['table']}: {warehouse.fingerprint(LIVE_SCHEMA, dataset)}"
            for dataset in self._environment.config["datasets"].values()
        ]
        return "; ".join(tables)

    # ---- what surrounds it ---------------------------------------------------------------------

    def _logs(self) -> str:
        """Wait for lines since the smoke test began, in each group that it must have written to."""
        groups = self._environment.log_groups
        waiting = [group for name, group in groups.items() if name != "glue error"]
        number, deadline = len(waiting), time.monotonic() + LOGS_TIMEOUT_SECONDS
        while waiting := [group for group in waiting if not self._has_lines(group)]:
            if time.monotonic() > deadline:
                raise CheckFailed("\n".join(f"nothing arrives in {group}" for group in waiting))
            time.sleep(1)
        return f"lines of the smoke test in {number} groups"

    def _has_lines(self, group: str) -> bool:
        client = self._environment.client("logs")
        pages = client.get_paginator("filter_log_events").paginate(
            logGroupName=group, startTime=int(self._smoke_started.timestamp() * 1000)
        )
        try:
            return any(page["events"] for page in pages)
        except client.exceptions.ResourceNotFoundException as error:
            raise CheckFailed(f"there is no log group {group}") from error

    def _topics(self) -> str:
        client, faults, found = self._environment.client("sns"), [], []
        parameters = self._environment.config["parameters"]
        emails = {
            "notifications": parameters["application"]["NotificationEmail"],
            "alarms": parameters["monitoring"]["AlarmEmail"],
        }
        for topic, email in emails.items():
            arn = self._environment.topic_arn(topic)
            try:
                client.get_topic_attributes(TopicArn=arn)
            except client.exceptions.NotFoundException:
                faults.append(f"there is no topic {arn}")
                continue
            pages = client.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn)
            states = {
                one["Endpoint"]: one["SubscriptionArn"]
                for page in pages
                for one in page["Subscriptions"]
            }
            if not email:
                found.append(f"{topic}: configured for nobody")
            elif not states.get(email, "").startswith("arn:"):
                faults.append(f"{email} gets no {topic}: {states.get(email, 'not subscribed')}")
            else:
                found.append(f"{topic}: {email}")
        return require(faults, "; ".join(found))

    def _buckets(self) -> str:
        environment = self._environment
        faults = [
            *_bucket_faults(environment, environment.data_bucket, "aws:kms"),
            *_bucket_faults(environment, environment.artifact_bucket, "AES256"),
        ]
        told = environment.client("s3").get_bucket_notification_configuration(
            Bucket=environment.data_bucket
        )
        if "EventBridgeConfiguration" not in told:
            faults.append(f"{environment.data_bucket} tells EventBridge nothing")
        return require(faults, "versioned, encrypted, private, TLS only; events to EventBridge")

    # ---- the evidence --------------------------------------------------------------------------

    def keep(self, outcomes: list[Outcome], seconds: float) -> str:
        """Write what the checks came to; return its address."""
        record: dict[str, Any] = {
            "environment": self._environment.name,
            "passed": all(outcome.passed for outcome in outcomes),
            "who": self._environment.caller(),
            "when": evidence.now(),
            "seconds": round(seconds, 1),
            "checks": [
                {"name": each.name, "passed": each.passed, "found": each.found} for each in outcomes
            ],
        }
        version, manifest_sha256 = self._record["to"], self._record["manifest_sha256"]
        return evidence.write(
            self._environment, evidence.POSTCHECK, version, manifest_sha256, record
        )


def _short(version_arn: str) -> str:
    return version_arn.rpartition("stateMachine:")[2]


def _bucket_faults(environment: Environment, bucket: str, algorithm: str) -> Iterator[str]:
    """Yield each setting of a bucket that is not as its template has it."""
    s3 = environment.client("s3")
    if (versioning := s3.get_bucket_versioning(Bucket=bucket).get("Status")) != "Enabled":
        yield f"{bucket}: versioning is {versioning or 'off'}"
    for what, read, fault in (
        (
            "encryption",
            lambda: s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"],
            lambda found: f'"{algorithm}"' not in json.dumps(found),
        ),
        (
            "public access block",
            lambda: s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"],
            lambda found: not all(found.get(name) for name in BLOCKED),
        ),
        (
            "TLS-only policy",
            lambda: json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"]),
            lambda found: not any(map(_denies_plain_http, found["Statement"])),
        ),
    ):
        try:
            found = read()
        except ClientError as error:
            yield f"{bucket}: {what}: {error.response['Error']['Code']}"
        else:
            if fault(found):
                yield f"{bucket}: {what}: {json.dumps(found)}"


def _denies_plain_http(statement: dict[str, Any]) -> bool:
    secure = statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport")
    return statement["Effect"] == "Deny" and str(secure).lower() == "false"


@command
def main() -> int:
    """Make the checks and keep what they came to; exit 1 when any has failed."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.postcheck", description=__doc__)
    parser.add_argument("--env", required=True)
    environment = Environment.load(parser.parse_args().env)
    environment.caller()
    environment.require_deployed()
    live = live_release(environment)
    record = next((one for one in history(environment) if one["result"] == SUCCEEDED), None)
    if live is None or record is None:
        raise OperationError(
            f"nothing is live in {environment.name}: make deploy ENV={environment.name}"
        )
    print(f"postcheck: {record['to']} in {environment.name}", file=sys.stderr)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        postcheck = Postcheck(environment, live, record, Path(folder) / "release")
        outcomes = make_all(postcheck.checks())
        address = postcheck.keep(outcomes, time.monotonic() - started)
    print(f"postcheck: on record in {address}", file=sys.stderr)
    if failed := [outcome.name for outcome in outcomes if not outcome.passed]:
        raise OperationError(
            f"{len(failed)} of {len(outcomes)} checks failed: {', '.join(failed)}; "
            f"{record['to']} is not promoted from {environment.name} before they pass"
        )
    print(f"postcheck: all {len(outcomes)} checks passed", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
