"""Backs up what is live in an environment: each thing that a deploy changes, and a restore needs.

Prints the backup's id, or nothing where nothing is live yet. A backup that would hold what the last
one holds is not made twice: the id is that one's.
"""

import argparse
import hashlib
import json
import sys
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any

from ops.aws import CALLS_AT_ONCE, or_none
from ops.backup import store
from ops.backup.functions import LATEST, Functions
from ops.backup.job import GlueJob
from ops.backup.log_groups import LogGroups
from ops.backup.machine import StateMachine
from ops.backup.stacks import read_stack
from ops.backup.store import RELEASE, Backup, Index, Parts
from ops.build.manifest import MANIFEST
from ops.environment import LIVE, STACKS, Environment, OperationError, command
from ops.release.live import LiveRelease, live_release
from ops.release.pins import pins
from ops.release.stacks import FUNCTION, stack_resources
from ops.release.switch import TRIGGER

DOWNLOAD_SECONDS = 60


class Gathering:
    """Reads the parts of one backup."""

    def __init__(self, environment: Environment, live: LiveRelease):
        self._environment = environment
        self._live = live
        self._functions = Functions(environment.client("lambda"))
        self._s3 = environment.client("s3")
        self.parts: Parts = {}
        self.lacks: list[str] = []
        self.trigger = ""  # ARN of the version that is live

    def run(self) -> None:
        """Read everything; what is missing is named in `lacks`."""
        self._read_release()
        machine = StateMachine(self._environment)
        alias = machine.alias()
        state_machine = machine.read(self._live.version_arn)
        self._put("state-machine.json", state_machine | {"alias": alias})
        self._read_functions(state_machine["version"]["definition"])
        job = GlueJob(self._environment)
        self._put("job.json", job.read(), f"Glue job {job.name}")
        groups = LogGroups(self._environment)
        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            names = groups.names()
            found = dict(zip(names, pool.map(groups.read, names)))
        self.lacks += [f"log group {name}" for name in names if found[name] is None]
        self._put("log-groups.json", [group for group in found.values() if group])
        for stack in STACKS:
            self._read_stack(stack)

    def _put(self, path: str, content: Any, what: str = "") -> None:
        if content is None:
            self.lacks.append(what)
        else:
            text = json.dumps(content, indent=2, sort_keys=True)
            self.parts[path] = text.encode() + b"\n"

    def _read_release(self) -> None:
        """Read the release's objects; they are no part of it unless they match its manifest."""
        prefix, bucket = f"releases/{self._live.release}/", self._environment.artifact_bucket

        def get(path: str) -> bytes | None:
            answer = or_none(self._s3.get_object, Bucket=bucket, Key=prefix + path)
            return answer and answer["Body"].read()

        manifest = get(MANIFEST)
        if manifest is None:
            self.lacks.append(f"s3://{bucket}/{prefix}{MANIFEST}")
            return
        self.parts[RELEASE + MANIFEST] = manifest
        artifacts = json.loads(manifest)["artifacts"]
        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            contents = list(pool.map(lambda artifact: get(artifact["path"]), artifacts))
        for artifact, content in zip(artifacts, contents):
            if content is not None and store.digest(content) == artifact["sha256"]:
                self.parts[RELEASE + artifact["path"]] = content
            else:
                found = "missing" if content is None else "of other bytes than its manifest says"
                self.lacks.append(f"s3://{bucket}/{prefix}{artifact['path']} ({found})")

    def _read_functions(self, definition: str) -> None:
        versions = {
            name: arn.rpartition(":")[2] for name, arn in pins(definition).functions.items()
        }
        trigger = self._environment.function(TRIGGER)
        alias = or_none(
            self._environment.client("lambda").get_alias, FunctionName=trigger, Name=LIVE
        )
        if alias:
            versions[trigger] = alias["FunctionVersion"]
            self.trigger = f"{alias['AliasArn'].rpartition(':')[0]}:{alias['FunctionVersion']}"
        else:
            self.lacks.append(f"alias {LIVE} of {trigger}")
        names = sorted(stack_resources(self._environment, "application", FUNCTION).values())
        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            found = list(
                pool.map(lambda one: self._functions.read(one, versions.get(one, "")), names)
            )
        known = {store.digest(content) for content in self.parts.values()}
        for name, function in zip(names, found):
            short = name.removeprefix(f"{self._environment.prefix}-")
            self._put(f"functions/{short}.json", function, f"function {name}")
            if function is None:
                continue
            if function.get("version") is None:
                self.lacks.append(f"version {versions.get(name, '')} of {name}, which is live")
            for sha256, location in self._code(function):
                if sha256 not in known:
                    self._download(f"code/{sha256}.zip", sha256, location())
                    known.add(sha256)

    def _code(self, function: dict[str, Any]) -> Iterator[tuple[str, Callable[[], str]]]:
        """Yield the SHA-256 of each zip that the function runs on, and how to find it."""
        name, version = function["name"], function.get("version")
        where = self._functions.code_location
        yield function["latest"]["code"], lambda: where(name, LATEST)
        if version:
            yield version["snapshot"]["code"], lambda: where(name, version["number"])
        for sha256, layer in function["layers"].items():
            found = self._functions.layers.get(layer["arn"])
            yield sha256, lambda found=found: found["Content"]["Location"]

    def _download(self, path: str, sha256: str, location: str) -> None:
        with urllib.request.urlopen(location, timeout=DOWNLOAD_SECONDS) as answer:
            content = answer.read()
        if store.digest(content) != sha256:
            raise OperationError(f"{location.partition('?')[0]}: other bytes than Lambda says")
        self.parts[path] = content

    def _read_stack(self, stack: str) -> None:
        found = read_stack(self._environment, stack)
        if found is None:
            self.lacks.append(f"stack {self._environment.stack(stack)}")
            return
        template, request = found
        self.parts[f"stacks/{stack}.yaml"] = template.encode()
        self._put(f"stacks/{stack}.json", request)


def back_up(environment: Environment, live: LiveRelease, who: str, purpose: str) -> Index:
    """Make a backup of what is live, unless the last one holds the same; return its index."""
    gathering = Gathering(environment, live)
    gathering.run()
    parts = gathering.parts
    now = datetime.now(timezone.utc)
    manifest = parts.get(RELEASE + MANIFEST, b"")
    index = Index(
        id=f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03}Z-{live.release}",
        environment=environment.name,
        account_id=environment.account_id,
        made=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        who=who,
        command=purpose,
        release=live.release,
        state_machine_version_arn=live.version_arn,
        trigger_version_arn=gathering.trigger,
        manifest_sha256=hashlib.sha256(manifest).hexdigest() if manifest else "",
        parts={path: store.digest(content) for path, content in sorted(parts.items())},
        size=sum(map(len, parts.values())),
        lacks=gathering.lacks,
    )
    if same := _same(environment, index):
        return same
    store.put(environment, Backup(index, parts))
    return index


def _same(environment: Environment, index: Index) -> Index | None:
    """Return the last backup where it holds the same, undamaged; else None."""
    last = next(iter(store.ids(environment)), "")
    if not last:
        return None
    try:
        found = store.read(environment, last).index
    except OperationError:  # damaged: that is no backup to rely on
        return None
    return found if (found.parts, found.lacks) == (index.parts, index.lacks) else None


@command
def main() -> int:
    """Back up one environment; print the backup's id."""
    parser = argparse.ArgumentParser(prog="python -m ops.backup.make", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("--who", required=True, help="the caller's ARN")
    parser.add_argument("--command", required=True, help="what it is made for")
    arguments = parser.parse_args()
    environment = Environment.load(arguments.env)
    live = live_release(environment)
    if live is None:
        print("  nothing is live yet, so there is nothing to back up", file=sys.stderr)
        return 0
    index = back_up(environment, live, arguments.who, arguments.command)
    size = f"{len(index.parts)} parts, {index.size} bytes"
    print(f"  backup {index.id} of release {index.release}: {size}", file=sys.stderr)
    for lack in index.lacks:
        print(f"  WARNING: it lacks what was missing already: {lack}", file=sys.stderr)
    print(index.id)
    return 0


if __name__ == "__main__":
    sys.exit(main())
