"""What an environment demands of a release before it may be deployed there.

config/<env>/settings.yaml, `gates`. Nothing but a rollback goes past them: it brings back what has
been through them.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from ops.environment import Environment, OperationError, command
from ops.release import evidence
from ops.release.evidence import BUILDS, Release


def dirty_faults(environment: Environment, release: Release) -> Iterator[str]:
    """Yield why a build of changed sources is not taken."""
    if release.dirty and not environment.gates["dirty"]:
        yield (
            f"{release.version} was built from changed sources, which {environment.name} does "
            "not take (gates.dirty): commit the changes and build again"
        )


def test_faults(environment: Environment, release: Release, builds: Path) -> Iterator[str]:
    """Yield each layer of the tests that must have passed and has not."""
    for layer in environment.gates["tests"]:
        if evidence.tests_passed(environment, layer, release, builds) is None:
            yield (
                f"{environment.name} asks for the {layer} tests of {release.version} (gates.tests) "
                f"and there is no evidence of them: run make {layer} on a clean checkout of "
                f"{release.commit[:12]}"
            )


def promotion_faults(
    environment: Environment, release: Release, demanded: bool = False
) -> Iterator[str]:
    """Yield why a release does not count as promoted, where that is demanded."""
    if not demanded and not environment.gates["promoted"]:
        return
    before = environment.before()
    if before is None:
        yield f"nothing is promoted to {environment.name}: see release.promotion_path"
    elif evidence.promoted(environment, release) is None:
        yield (
            f"{environment.name} takes only what has passed its checks in {before.name} "
            f"(gates.promoted), and this manifest of {release.version} has not: make postcheck "
            f"ENV={before.name}, then make promote FROM={before.name} TO={environment.name} "
            f"VERSION={release.version}"
        )


def approval_faults(environment: Environment, release: Release) -> Iterator[str]:
    """Yield each role that has to sign off this manifest and has not."""
    for role in environment.gates["approvals"]:
        command_line = f"make approve ENV={environment.name} ROLE={role} VERSION={release.version}"
        record = evidence.latest(environment, evidence.approval(role), release.version)
        if record is None:
            yield (
                f"{environment.name} asks for the approval of the {role} (gates.approvals): "
                f"{command_line}"
            )
        elif record["manifest_sha256"] != release.manifest_sha256:
            yield (
                f"the approval of the {role} is for another manifest of {release.version}, "
                f"{record['manifest_sha256'][:12]}, and this is "
                f"{release.manifest_sha256[:12]}: {command_line}"
            )


def faults(
    environment: Environment, release: Release, builds: Path, promotion: bool = False
) -> Iterator[str]:
    """Yield why a release must not be deployed in the environment, each with what to do."""
    yield from dirty_faults(environment, release)
    yield from test_faults(environment, release, builds)
    yield from promotion_faults(environment, release, promotion)
    yield from approval_faults(environment, release)


@command
def main() -> int:
    """Refuse a release that its environment does not take, with all there is to say against it."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.gates", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("--promoted-from", default="", help="the environment it comes from")
    parser.add_argument("root", type=Path, help="the release's folder")
    arguments = parser.parse_args()
    environment, release = Environment.load(arguments.env), Release.of(arguments.root)
    promotion = bool(arguments.promoted_from)
    if found := list(faults(environment, release, BUILDS, promotion)):
        raise OperationError("\n".join(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
