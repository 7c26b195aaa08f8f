"""What of a backup is as it was, what was changed and what is missing."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ops.aws import CALLS_AT_ONCE, or_none
from ops.backup.functions import Functions
from ops.backup.job import GlueJob
from ops.backup.log_groups import LogGroups
from ops.backup.machine import StateMachine
from ops.backup.stacks import read_stack
from ops.backup.store import RELEASE, Backup, digest
from ops.environment import LIVE, STACKS, Environment

AS_IT_WAS = "as it was"
CHANGED = "changed"
MISSING = "missing"


@dataclass(frozen=True)
class Thing:
    """One thing of a backup: its state now, and what of it was changed."""

    name: str
    state: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.name:<58} {self.state}{': ' if self.detail else ''}{self.detail}"


def compared(name: str, wanted: dict[str, Any], found: dict[str, Any] | None) -> Thing:
    """Return a thing with the names of the fields that differ."""
    if found is None:
        return Thing(name, MISSING)
    names = sorted(differing(wanted, found))
    return Thing(name, CHANGED, ", ".join(names)) if names else Thing(name, AS_IT_WAS)


def differing(wanted: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    """Yield the names that two dictionaries differ in; a dictionary in them is looked into."""
    for name in wanted.keys() | found.keys():
        one, other = wanted.get(name), found.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from (f"{name}.{inner}" for inner in differing(one, other))
        elif one != other:
            yield name


class Comparison:
    """Compares an environment with a backup, and knows which versions still hold what it had."""

    def __init__(self, environment: Environment, backup: Backup):
        self._environment = environment
        self._backup = backup
        self._lambda = environment.client("lambda")
        self.functions = Functions(self._lambda)
        self.machine = StateMachine(environment)
        self.job = GlueJob(environment)
        self.log_groups = LogGroups(environment)

    def run(self) -> list[Thing]:
        """Return everything that the backup holds, compared."""
        # One after another in each, since what a deploy calls comes before what calls it.
        parts: list[Callable[[], Iterator[Thing]]] = [
            self._release,
            self._stacks,
            self._log_groups,
            self._functions,
            self._job,
            self._machine,
        ]
        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            return [
                thing for found in pool.map(lambda part: list(part()), parts) for thing in found
            ]

    def lost_objects(self) -> list[str]:
        """Return the paths of the release's objects that are gone or have other bytes."""
        s3, bucket = self._environment.client("s3"), self._environment.artifact_bucket
        prefix = f"releases/{self._backup.index.release}/"
        paths = [path for path in self._backup.parts if path.startswith(RELEASE)]

        def is_lost(path: str) -> bool:
            key = prefix + path.removeprefix(RELEASE)
            answer = or_none(s3.get_object, Bucket=bucket, Key=key)
            return answer is None or digest(answer["Body"].read()) != digest(
                self._backup.parts[path]
            )

        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            return [path for path, lost in zip(paths, pool.map(is_lost, paths)) if lost]

    def changed_stacks(self) -> list[str]:
        """Return which stacks are gone, or have another template, other parameters or tags."""
        return [stack for stack in STACKS if self._stack(stack).state != AS_IT_WAS]

    def replaced(self) -> dict[str, str]:
        """Return the version that stands in for each function version that live ran.

        By ARN, the same where the version itself is there; empty where there is none.
        """
        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            functions = [one for one in self._backup.functions() if one.get("version")]
            found = list(pool.map(self.functions.standing_version, functions))
        return {self.version_arn(one): arn for one, arn in zip(functions, found)}

    def version_arn(self, function: dict[str, Any]) -> str:
        """Return the ARN of the version that live ran when the backup was made."""
        environment = self._environment
        return (
            f"arn:aws:lambda:{environment.region}:{environment.account_id}:function:"
            f"{function['name']}:{function['version']['number']}"
        )

    # ---- thing by thing ------------------------------------------------------------------------

    def _release(self) -> Iterator[Thing]:
        lost = [path.removeprefix(RELEASE) for path in self.lost_objects()]
        state = CHANGED if lost else AS_IT_WAS
        yield Thing(f"releases/{self._backup.index.release}/", state, ", ".join(lost))

    def _stacks(self) -> Iterator[Thing]:
        with ThreadPoolExecutor(len(STACKS)) as pool:
            yield from pool.map(self._stack, STACKS)

    def _stack(self, stack: str) -> Thing:
        name = f"stack {self._environment.stack(stack)}"
        found = read_stack(self._environment, stack)
        if found is None:
            return Thing(name, MISSING)
        template, request = found
        wanted = self._backup.json(f"stacks/{stack}.json")
        changes = [
            what
            for what, one, other in (
                ("template", self._backup.parts[f"stacks/{stack}.yaml"], template.encode()),
                ("parameters", wanted["Parameters"], request["Parameters"]),
                ("tags", wanted["Tags"], request["Tags"]),
            )
            if one != other
        ]
        return Thing(name, CHANGED if changes else AS_IT_WAS, ", ".join(changes))

    def _log_groups(self) -> Iterator[Thing]:
        groups = self._backup.json("log-groups.json")
        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            found = pool.map(lambda group: self.log_groups.read(group["name"]), groups)
            for wanted, group in zip(groups, found):
                yield compared(f"log group {wanted['name']}", wanted, group)

    def _functions(self) -> Iterator[Thing]:
        functions, replaced = self._backup.functions(), self.replaced()
        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            found = list(pool.map(lambda one: self.functions.read(one["name"]), functions))
        for wanted, function in zip(functions, found):
            yield self._function(wanted, function)
            if wanted.get("version"):
                yield self._version(wanted, replaced)
            if wanted["alias"]:
                yield self._alias(wanted, function, replaced)

    def _function(self, wanted: dict[str, Any], found: dict[str, Any] | None) -> Thing:
        fields = ("description", "latest", "tags", "concurrency", "access")
        return compared(
            f"function {wanted['name']}",
            {field: wanted[field] for field in fields},
            found and {field: found[field] for field in fields},
        )

    def _version(self, wanted: dict[str, Any], replaced: dict[str, str]) -> Thing:
        arn = self.version_arn(wanted)
        name = f"version {wanted['version']['number']} of {wanted['name']}"
        if not replaced[arn]:
            return Thing(name, MISSING)
        number = replaced[arn].rpartition(":")[2]
        return Thing(name, AS_IT_WAS, "" if replaced[arn] == arn else f"by version {number}")

    def _alias(
        self, wanted: dict[str, Any], found: dict[str, Any] | None, replaced: dict[str, str]
    ) -> Thing:
        alias = {**wanted["alias"]}
        if standing := replaced.get(self.version_arn(wanted), ""):
            alias["version"] = standing.rpartition(":")[2]
        return compared(f"alias {LIVE} of {wanted['name']}", alias, found and found["alias"])

    def _job(self) -> Iterator[Thing]:
        yield compared(f"Glue job {self.job.name}", self._backup.json("job.json"), self.job.read())

    def _machine(self) -> Iterator[Thing]:
        wanted, found = self._backup.json("state-machine.json"), self.machine.read()
        replaced = {old: new for old, new in self.replaced().items() if new}
        name = f"state machine {self._environment.prefix}-etl"
        fields = ("type", "current", "tags")
        yield compared(
            name,
            {field: wanted[field] for field in fields}
            | {"current": self.machine.wanted(wanted, replaced)},
            found and {field: found[field] for field in fields},
        )
        number = wanted["version"]["arn"].rpartition(":")[2]
        standing = self._standing(wanted)
        state = AS_IT_WAS if standing else MISSING
        by_another = standing and standing != wanted["version"]["arn"]
        detail = f"by version {standing.rpartition(':')[2]}" if by_another else ""
        yield Thing(f"version {number} of the {name}", state, detail)
        routes = {"description": wanted["alias"]["description"], "routes": {standing: 100}}
        yield compared(f"alias {LIVE} of the {name}", routes, self.machine.alias())

    def _standing(self, wanted: dict[str, Any]) -> str:
        """Return a version that is the release and calls only what is there; empty for none."""
        replaced, definition = self.replaced(), wanted["version"]["definition"]
        if any(old in definition and not new for old, new in replaced.items()):
            return ""
        return self.machine.standing_version(wanted, replaced)
