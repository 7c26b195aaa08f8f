"""A backup brings everything back, whoever deleted or changed what, and what arrives is loaded."""

import hashlib
import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.conftest import REPOSITORY, new_local_aws
from tests.e2e.project import DATA_BUCKET, PREFIX, STATE_MACHINE, Project
from tests.e2e.reference import expect
from tests.e2e.warehouse import rows_where

ARTIFACTS = DATA_BUCKET.replace("-data-", "-artifacts-")
TRIGGER = f"{PREFIX}-trigger-etl"
VALIDATE = f"{PREFIX}-validate-input"
CHECK = f"{PREFIX}-check-quality"
LOAD = f"{PREFIX}-load-warehouse"
FUNCTIONS = (TRIGGER, VALIDATE, CHECK, LOAD)
HEADER = (
    "Product@ID,Product Name!,Department,Brand,Product Category,Package Size,Price ($),Quantity,"
    "Store ID,Time"
)


@dataclass(frozen=True)
class Backup:
    """What lies in the bucket under a backup's id."""

    id: str
    parts: dict[str, bytes]

    def json(self, path):
        """Return a part in JSON."""
        return json.loads(self.parts[path])


def a_file(folder, day, rows=40):
    """Write a file of one day: good rows, a repeated one and a bad one; return its path."""
    path = folder / f"Products_{day}.csv"
    lines = [
        f"{day},Milk,GROCERY,National,MILK,1 L,1.{row:02},2,7,2020-01-01 08:00:{row:02}"
        for row in range(rows)
    ]
    lines += [lines[0], lines[1].replace(",2,7,", ",minus,7,")]
    path.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
    return path


def loaded(project, file):
    """Return count and hash of the table's rows of a file of `a_file`."""
    return rows_where(project, f"product_id = {file.stem[-8:]}")


def last_record(project):
    """Return the record of the last deploy, rollback or restore."""
    s3 = project.client("s3")
    listed = s3.list_objects_v2(Bucket=ARTIFACTS, Prefix="deploys/")["Contents"]
    key = max(item["Key"] for item in listed)
    return json.load(s3.get_object(Bucket=ARTIFACTS, Key=key)["Body"])


def read_backup(project, backup_id):
    """Return a backup as it lies in the bucket."""
    s3, prefix = project.client("s3"), f"backups/{backup_id}/"
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=ARTIFACTS, Prefix=prefix)["Contents"]]
    return Backup(
        backup_id,
        {
            key.removeprefix(prefix): s3.get_object(Bucket=ARTIFACTS, Key=key)["Body"].read()
            for key in keys
        },
    )


def versions(project):
    """Return every version of the functions and of the state machine."""
    functions, states = project.client("lambda"), project.client("stepfunctions")
    found = {
        item["FunctionArn"]
        for name in FUNCTIONS
        for item in functions.list_versions_by_function(FunctionName=name)["Versions"]
    }
    listed = states.list_state_machine_versions(stateMachineArn=STATE_MACHINE)
    return found | {item["stateMachineVersionArn"] for item in listed["stateMachineVersions"]}


@pytest.fixture(name="project", scope="module")
def fixture_project() -> Iterator[Project]:
    """The checkout under test, deployed to an account of its own: what others have left there by
    hand would be restored, too, and what these tests delete is nothing that others can work with.
    """
    with new_local_aws() as aws:
        project = Project(REPOSITORY, aws)
        done = project.make("deploy", "ENV=dev")
        assert done.returncode == 0, done.stderr
        yield project


@pytest.fixture(name="backup", scope="module")
def fixture_backup(project):
    """The backup that a deploy makes of what is live.

    That of a deploy's first part, which goes its way where a whole one finds nothing to do.
    """
    done = project.make("upload", "ENV=dev")
    assert done.returncode == 0, done.stderr
    phases = [phase["phase"] for phase in last_record(project)["phases"]]
    assert phases.index("backup") == phases.index("take_lock") + 1
    return read_backup(project, last_record(project)["backup"])


def test_a_deploys_backup_names_each_part_and_is_found(project, backup):
    index = backup.json("backup.json")
    parts = {path: part for path, part in backup.parts.items() if path != "backup.json"}
    assert index["parts"] == {path: hashlib.sha256(one).hexdigest() for path, one in parts.items()}
    assert index["lacks"] == []
    assert index["state_machine_version_arn"] == project.live_version()
    assert index["command"].startswith("deploy ")
    # What has not changed since is not backed up twice.
    again = project.make("backup", "ENV=dev")
    assert again.stdout.strip() == backup.id, again.stderr
    assert backup.id in project.make("backups", "ENV=dev").stdout


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_deploys_backup_holds_each_function(project, backup, name):
    functions = project.client("lambda")
    part = backup.json(f"functions/{name.removeprefix(PREFIX + '-')}.json")
    number = part["version"]["number"]
    for qualifier, held in (("$LATEST", part["latest"]), (number, part["version"]["snapshot"])):
        found = functions.get_function(FunctionName=name, Qualifier=qualifier)
        (layer,) = found["Configuration"]["Layers"]
        content = functions.get_layer_version_by_arn(Arn=layer["Arn"])["Content"]
        # The bytes that Lambda itself hands out, also those of the layer.
        assert held["code"] == held_bytes(backup, found["Code"]["Location"])
        assert held["settings"]["Layers"] == [held_bytes(backup, content["Location"])]
        for setting in ("Timeout", "MemorySize", "Role", "Handler", "LoggingConfig"):
            assert held["settings"][setting] == found["Configuration"][setting]
        variables = found["Configuration"].get("Environment", {}).get("Variables", {})
        assert held["settings"]["Environment"]["Variables"] == variables


def held_bytes(backup, address):
    """Return the SHA-256 of what is at the address, once the backup has those bytes."""
    with urllib.request.urlopen(address) as answer:
        content = answer.read()
    assert content in backup.parts.values()
    return hashlib.sha256(content).hexdigest()


def test_a_deploys_backup_holds_aliases_state_machine_and_job(project, backup):
    alias = backup.json("functions/trigger-etl.json")["alias"]
    found = project.client("lambda").get_alias(FunctionName=TRIGGER, Name="live")
    assert (alias["version"], alias["description"]) == (
        found["FunctionVersion"],
        found["Description"],
    )
    (permission,) = alias["permissions"]
    assert permission["Principal"] == "events.amazonaws.com"
    assert permission["SourceArn"].endswith(f":rule/{PREFIX}-inbox")
    assert alias["invoke"]["MaximumRetryAttempts"] == 2
    machine, states = backup.json("state-machine.json"), project.client("stepfunctions")
    for part, arn in (("version", project.live_version()), ("current", STATE_MACHINE)):
        described = states.describe_state_machine(stateMachineArn=arn)
        for name in ("definition", "roleArn", "loggingConfiguration"):
            assert machine[part][name] == described[name]
    assert machine["alias"]["routes"] == {project.live_version(): 100}
    job = project.client("glue").get_job(JobName=f"{PREFIX}-etl")["Job"]
    for name in ("Command", "DefaultArguments", "ExecutionProperty", "Timeout", "WorkerType"):
        assert backup.json("job.json")["definition"][name] == job[name]


def test_a_deploys_backup_holds_stacks_configuration_and_manifest(project, backup):
    cloudformation, s3 = project.client("cloudformation"), project.client("s3")
    for stack in ("artifacts", "data", "application", "monitoring"):
        name, request = f"{PREFIX}-{stack}", backup.json(f"stacks/{stack}.json")
        (described,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
        for section in ("Parameters", "Tags"):
            assert sorted(map(str, described[section])) == sorted(map(str, request[section]))
        template = cloudformation.get_template(StackName=name)["TemplateBody"]
        assert template.encode() == backup.parts[f"stacks/{stack}.yaml"]
    release = backup.json("backup.json")["release"]
    for path in ("config/dev.json", "manifest.json"):
        key = f"releases/{release}/{path}"
        stored = s3.get_object(Bucket=ARTIFACTS, Key=key)["Body"].read()
        assert stored == backup.parts[f"release/{path}"]


def test_a_damaged_backup_is_refused_before_anything_is_touched(project, backup):
    # GIVEN a backup of which one part has other bytes, one is missing, and one that has no index
    s3, live = project.client("s3"), project.live_version()
    damaged = backup.id.replace("-", "-damaged-", 1)
    index = backup.json("backup.json") | {"id": damaged}
    parts = backup.parts | {"backup.json": json.dumps(index).encode(), "job.json": b"{}"}
    del parts["stacks/data.yaml"]
    for path, part in parts.items():
        s3.put_object(Bucket=ARTIFACTS, Key=f"backups/{damaged}/{path}", Body=part)
    before = versions(project), last_record(project)

    # WHEN it is to be restored, THEN each part at fault is named, and nothing is done
    refused = project.make("rollback", "ENV=dev", f"BACKUP={damaged}")
    assert refused.returncode == 2
    assert f"backup {damaged} is damaged" in refused.stderr
    assert f"backups/{damaged}/job.json: SHA-256 is" in refused.stderr
    assert f"backups/{damaged}/stacks/data.yaml: missing" in refused.stderr
    s3.delete_object(Bucket=ARTIFACTS, Key=f"backups/{damaged}/backup.json")
    refused = project.make("rollback", "ENV=dev", f"BACKUP={damaged}")
    assert refused.returncode == 2
    assert f"there is no backup {damaged}" in refused.stderr
    assert (versions(project), last_record(project)) == before
    assert project.live_version() == live


def test_what_was_deleted_comes_back_and_what_arrived_meanwhile_is_loaded(
    project, backup, tmp_path
):
    # GIVEN functions, job, state machine and a log group that somebody has deleted
    functions = project.client("lambda")
    for name in (TRIGGER, VALIDATE):
        functions.delete_function(FunctionName=name)
    project.client("glue").delete_job(JobName=f"{PREFIX}-etl")
    project.client("stepfunctions").delete_state_machine(stateMachineArn=STATE_MACHINE)
    project.client("logs").delete_log_group(logGroupName=f"/aws/lambda/{CHECK}")
    # AND a file that arrives when nothing can take it
    waiting = a_file(tmp_path, 20200101)
    key = f"data/in/{waiting.name}"
    project.client("s3").put_object(
        Bucket=DATA_BUCKET, Key=key, Body=waiting.read_bytes(), ChecksumAlgorithm="SHA256"
    )

    # WHEN a restore is killed on its way, and run again
    kill_in_phase(project, "restore_changed", "rollback", "ENV=dev", f"BACKUP={backup.id}")
    done = project.make("rollback", "ENV=dev", f"BACKUP={backup.id}")

    # THEN everything is as it was, and live has loaded the file that waited, once and whole
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == project.live_version()
    assert "things are as they were" in done.stderr
    assert "files in the inbox:" in done.stderr and "1 started" in done.stderr
    assert "dead letters about them, removed: 1" in done.stderr
    file = a_file(tmp_path, 20200102)
    fed = project.feed(file)
    assert fed.returncode == 0, fed.stderr
    assert loaded(project, file) == expect(file).fingerprint()
    assert project.feed(waiting).returncode == 0  # returns once the run that has it has ended
    assert loaded(project, waiting) == expect(waiting).fingerprint()

    # AND the record says so
    record = last_record(project)
    assert (record["action"], record["result"]) == ("restore", "succeeded")
    assert record["backup"] == backup.id
    assert record["to"] == backup.json("backup.json")["release"]

    # AND what looks for changes by hand, which knows nothing of backups, finds none
    drift = project.make("drift", "ENV=dev")
    assert drift.returncode == 0, drift.stdout

    # AND restoring again changes nothing, and neither does deploying the same release
    before = versions(project)
    again = project.make("rollback", "ENV=dev", f"BACKUP={backup.id}")
    assert again.returncode == 0, again.stderr
    assert versions(project) == before
    deployed = project.make("deploy", "ENV=dev")
    assert deployed.returncode == 0, deployed.stderr
    assert versions(project) == before
    assert deployed.stdout.strip() == done.stdout.strip()


def test_what_was_changed_is_as_it_was(project, backup, tmp_path):
    # GIVEN a parameter of a stack, functions, their versions and aliases, the job, the state
    # machine and its alias, and an object of the release, which somebody has changed or deleted
    pinned = backup.json("functions/load-warehouse.json")["version"]["number"]
    change_a_parameter(project, "application", "GlueTimeoutMinutes", "31")
    change_functions(project, pinned)
    change_job_and_state_machine(project, backup)
    release = backup.json("backup.json")["release"]
    wheel = next(path for path in backup.parts if path.endswith(".whl")).removeprefix("release/")
    project.client("s3").delete_object(Bucket=ARTIFACTS, Key=f"releases/{release}/{wheel}")

    # WHEN the backup is restored
    done = project.make("rollback", "ENV=dev", f"BACKUP={backup.id}")

    # THEN it has said what it found, and everything is as it was
    assert done.returncode == 0, done.stderr
    said = [line.strip() for line in done.stderr.splitlines() if line.endswith("->  restored")]
    for thing in (
        f"function {CHECK}",
        f"function {VALIDATE}",
        f"function {LOAD}",
        f"version {pinned} of {LOAD}",
        f"alias live of {TRIGGER}",
        f"Glue job {PREFIX}-etl",
        f"state machine {PREFIX}-etl",
        f"alias live of the state machine {PREFIX}-etl",
        f"releases/{release}/",
        f"stack {PREFIX}-application",
    ):
        assert [line for line in said if line.startswith(f"{thing} ")], f"{thing}: {done.stderr}"
    functions = project.client("lambda")
    assert "Concurrency" not in functions.get_function(FunctionName=LOAD)
    policy = json.loads(functions.get_policy(FunctionName=TRIGGER, Qualifier="live")["Policy"])
    (statement,) = policy["Statement"]
    assert statement["Sid"].startswith(f"{PREFIX}-application-TriggerPermission")
    drift = project.make("drift", "ENV=dev")
    assert drift.returncode == 0, drift.stdout
    file = a_file(tmp_path, 20200103)
    fed = project.feed(file)
    assert fed.returncode == 0, fed.stderr
    assert loaded(project, file) == expect(file).fingerprint()


def change_functions(project, pinned):
    """Change code, settings, limits and tags of functions; delete a version and an alias."""
    functions = project.client("lambda")
    other = functions.get_function(FunctionName=LOAD)["Code"]["Location"]
    with urllib.request.urlopen(other) as answer:
        changed = functions.update_function_code(FunctionName=CHECK, ZipFile=answer.read())
    functions.tag_resource(Resource=changed["FunctionArn"], Tags={"Owner": "somebody"})
    functions.update_function_configuration(
        FunctionName=VALIDATE,
        Timeout=1,
        MemorySize=128,
        Layers=[],
        Environment={"Variables": {"A": "b"}},
    )
    functions.put_function_concurrency(FunctionName=LOAD, ReservedConcurrentExecutions=0)
    functions.delete_function(FunctionName=LOAD, Qualifier=pinned)
    functions.delete_alias(FunctionName=TRIGGER, Name="live")


def change_job_and_state_machine(project, backup):
    """Give the job another script, and publish and make live a definition that only fails."""
    job = {
        "Role": backup.json("job.json")["definition"]["Role"],
        "Command": {"Name": "glueetl", "ScriptLocation": f"s3://{ARTIFACTS}/nothing.py"},
        "GlueVersion": "5.1",
        "Timeout": 1,
    }
    project.client("glue").update_job(JobName=f"{PREFIX}-etl", JobUpdate=job)
    states = project.client("stepfunctions")
    fails = {"StartAt": "No", "States": {"No": {"Type": "Fail", "Error": "Changed"}}}
    version = states.update_state_machine(
        stateMachineArn=STATE_MACHINE, definition=json.dumps(fails), publish=True
    )["stateMachineVersionArn"]
    states.update_state_machine_alias(
        stateMachineAliasArn=f"{STATE_MACHINE}:live",
        routingConfiguration=[{"stateMachineVersionArn": version, "weight": 100}],
    )


def change_a_parameter(project, stack, name, value):
    """Update a stack with its own template, but another value of one parameter."""
    cloudformation, stack_name = project.client("cloudformation"), f"{PREFIX}-{stack}"
    (found,) = cloudformation.describe_stacks(StackName=stack_name)["Stacks"]
    others = [item for item in found["Parameters"] if item["ParameterKey"] != name]
    cloudformation.update_stack(
        StackName=stack_name,
        UsePreviousTemplate=True,
        Parameters=[*others, {"ParameterKey": name, "ParameterValue": value}],
        Tags=found["Tags"],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    cloudformation.get_waiter("stack_update_complete").wait(
        StackName=stack_name, WaiterConfig={"Delay": 1}
    )


def kill_in_phase(project, phase, *arguments):
    """Run make, and kill all of it as soon as it says that the phase has begun."""
    said = []
    with project.start(*arguments) as process:
        for line in process.stderr:
            said.append(line)
            if line == f"==> {phase}\n":
                os.killpg(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL, "".join(said)
