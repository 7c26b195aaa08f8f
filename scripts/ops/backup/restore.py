"""The steps of a restore, in the order in which scripts/rollback.sh takes them.

Each compares what is there with the backup and does what is left to do, so that a restore that was
interrupted is finished by another one.
"""

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ops.aws import CALLS_AT_ONCE, or_none
from ops.backup import store
from ops.backup.compare import AS_IT_WAS, Comparison
from ops.backup.functions import Place
from ops.backup.stacks import read_stack
from ops.backup.store import RELEASE, Backup
from ops.environment import LIVE, Environment, OperationError, command


def say(message: str) -> None:
    """Tell what is done."""
    print(f"  {message}", file=sys.stderr)


class Restore:
    """Brings one environment to one backup."""

    def __init__(self, environment: Environment, backup: Backup):
        self._environment = environment
        self._backup = backup
        self._comparison = Comparison(environment, backup)
        self._machine = backup.json("state-machine.json")
        self._bucket = environment.artifact_bucket
        self._layers: dict[str, str] = {}  # ARN by SHA-256
        self._place = Place(self._bucket, backup.key_of, self._layers.__getitem__)

    def show(self) -> None:
        """Say of each thing whether it is as it was; raise OperationError for what is beyond it."""
        for thing in self._comparison.run():
            say(f"{thing}{'' if thing.state == AS_IT_WAS else '  ->  restored'}")
        if lacks := self._backup.index.lacks:
            raise OperationError(
                f"backup {self._backup.index.id} is not whole; when it was made there was no "
                f"{', no '.join(lacks)}. Choose an earlier one: "
                f"make backups ENV={self._environment.name}"
            )
        if self._has_application() and (gone := self._lost_roles()):
            raise OperationError(
                f"there is no role {', no role '.join(gone)}, and a backup holds no rights: create "
                "it as cloudformation/application.yaml has it, then restore again"
            )

    def release(self) -> None:
        """Put back the release's objects: what runs reads them, and the stacks name them."""
        s3, lost = self._environment.client("s3"), self._comparison.lost_objects()
        for path in lost:
            key = f"releases/{self._backup.index.release}/{path.removeprefix(RELEASE)}"
            s3.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=self._backup.parts[path],
                ChecksumAlgorithm="SHA256",
            )
            say(f"s3://{self._bucket}/{key}")
        if not lost:
            say("all objects of the release are there")

    def missing(self) -> None:
        """Create what is gone, under its name: the stacks fit again, and can be updated."""
        if not self._has_application():
            say("the stack itself is gone: it creates what is in it")
            return
        self._restore_log_groups()
        functions = self._comparison.functions
        for function in self._backup.functions():
            if functions.read(function["name"]) is None:
                self._find_layers(function)
                functions.create(function, self._place)
                say(f"function {function['name']} created")
        if self._comparison.job.read() is None:
            self._comparison.job.create(self._backup.json("job.json"))
            say(f"Glue job {self._comparison.job.name} created")
        if self._comparison.machine.read() is None:
            self._comparison.machine.create(self._machine)
            say(f"state machine {self._environment.prefix}-etl created")

    def changed(self) -> None:
        """Bring what is there to what was backed up, and publish the versions that are gone."""
        self._restore_log_groups()
        self._comparison.job.restore(self._backup.json("job.json"))
        functions = self._backup.functions()
        for function in functions:  # one after another: they share a layer
            self._find_layers(function)
        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            list(pool.map(self._restore_function, functions))

    def machine(self) -> tuple[str, str]:
        """Publish the release again unless it stands; return the ARNs of what live is to be."""
        replaced = self._comparison.replaced()
        if gone := [old for old, new in replaced.items() if not new]:
            raise OperationError(f"no version stands in for {', '.join(gone)}: restore again")
        machine = self._comparison.machine
        version = machine.standing_version(self._machine, replaced)
        if not version:
            version = machine.publish(self._machine, replaced)
            say(f"published {version.rpartition('stateMachine:')[2]}")
        machine.restore(self._machine, replaced)
        return version, replaced[self._backup.index.trigger_version_arn]

    def aliases(self) -> None:
        """Bring back what belongs to the aliases besides their versions."""
        states, machine = self._environment.client("stepfunctions"), self._comparison.machine
        description = self._machine["alias"]["description"]
        if machine.alias()["description"] != description:
            states.update_state_machine_alias(
                stateMachineAliasArn=f"{self._environment.state_machine_arn}:{LIVE}",
                description=description,
            )
        for function in self._backup.functions():
            if function["alias"]:
                self._comparison.functions.restore_alias(function)
                say(f"alias {LIVE} of {function['name']} can be called as before")

    def verify(self) -> None:
        """Raise OperationError unless everything is as it was."""
        things = self._comparison.run()
        if left := [thing for thing in things if thing.state != AS_IT_WAS]:
            raise OperationError("not as it was:\n" + "\n".join(f"  {thing}" for thing in left))
        for thing in things:
            if thing.detail:
                say(str(thing))
        say(f"{len(things)} things are as they were")

    # ---- what the steps are made of ------------------------------------------------------------

    def _has_application(self) -> bool:
        return read_stack(self._environment, "application") is not None

    def _lost_roles(self) -> list[str]:
        snapshots = [
            function["latest"]["settings"]["Role"] for function in self._backup.functions()
        ]
        snapshots += [
            self._backup.json("job.json")["definition"]["Role"],
            self._machine["current"]["roleArn"],
        ]
        iam = self._environment.client("iam")
        names = sorted({arn.rpartition("/")[2] for arn in snapshots})
        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            found = pool.map(lambda name: or_none(iam.get_role, RoleName=name), names)
            return [name for name, role in zip(names, found) if role is None]

    def _restore_log_groups(self) -> None:
        groups = self._backup.json("log-groups.json")
        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            list(pool.map(self._comparison.log_groups.restore, groups))

    def _restore_function(self, function: dict[str, Any]) -> None:
        functions = self._comparison.functions
        if function.get("version") and not functions.standing_version(function):
            arn = functions.publish(function, self._place)
            say(f"published {arn.rpartition('function:')[2]}")
        functions.restore_latest(function, self._place)

    def _find_layers(self, function: dict[str, Any]) -> None:
        """Find a version of each of the function's layers, or publish one."""
        layers = self._comparison.functions.layers
        for sha256, layer in function["layers"].items():
            if sha256 in self._layers:
                continue
            arn = layers.with_content(layer, sha256)
            if not arn:
                arn = layers.publish(layer, self._bucket, self._backup.key_of(sha256))
                say(f"layer published: {arn.rpartition('layer:')[2]}")
            self._layers[sha256] = arn


def choose(environment: Environment, backup_id: str, folder: Path) -> None:
    """Read a backup into a folder and show what it would bring back; print what it is of."""
    backup = store.read(environment, backup_id)
    index = backup.index
    say(f"backup {index.id}, made {index.made} for {index.command} by {index.who}")
    store.save(backup, folder)
    Restore(environment, backup).show()
    print(index.release, index.manifest_sha256, sep="\n")


def machine(environment: Environment, folder: Path) -> None:
    """Print the versions that live is to be, of the state machine and of the trigger."""
    print(*Restore(environment, store.load(folder)).machine(), sep="\n")


def stacks(environment: Environment, folder: Path) -> None:
    """Print the stacks that a change set has to bring back."""
    for stack in Comparison(environment, store.load(folder)).changed_stacks():
        print(stack)


STEPS: dict[str, Callable[[Restore], None]] = {
    "release": Restore.release,
    "missing": Restore.missing,
    "changed": Restore.changed,
    "aliases": Restore.aliases,
    "verify": Restore.verify,
}
PRINTING = {"machine": machine, "stacks": stacks}


@command
def main() -> int:
    """Take one step."""
    parser = argparse.ArgumentParser(prog="python -m ops.backup.restore", description=__doc__)
    parser.add_argument("step", choices=("choose", *STEPS, *PRINTING))
    parser.add_argument("folder", type=Path, help="where the backup was read to")
    parser.add_argument("--env", required=True)
    parser.add_argument("--backup", default="", help="its id; for the step choose")
    arguments = parser.parse_args()
    environment = Environment.load(arguments.env)
    if arguments.step == "choose":
        choose(environment, arguments.backup, arguments.folder)
    elif arguments.step in PRINTING:
        PRINTING[arguments.step](environment, arguments.folder)
    else:
        STEPS[arguments.step](Restore(environment, store.load(arguments.folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
