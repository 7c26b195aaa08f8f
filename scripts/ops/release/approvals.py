"""Signs off one manifest for one environment, in the name of a role.

Who may write evidence/approvals/<role>/ in the artifact bucket can approve in that role's name:
IAM, not this tool, says who that is.
"""

import argparse
import sys
from pathlib import Path

from ops.environment import Environment, OperationError, command
from ops.release import evidence
from ops.release.evidence import Release


def require_role(environment: Environment, role: str) -> None:
    """Raise OperationError for a role that the environment does not ask for."""
    roles = environment.gates["approvals"]
    if role not in roles:
        asked = f"it asks for: {', '.join(roles)}" if roles else "it asks for no approvals"
        raise OperationError(
            f"{environment.name} knows no approval by the role '{role}'; {asked} (gates.approvals "
            f"in config/{environment.name}/settings.yaml)"
        )


def approve(environment: Environment, role: str, release: Release) -> str:
    """Write the approval of this manifest by the caller; return its address."""
    require_role(environment, role)
    record = {
        "environment": environment.name,
        "role": role,
        "who": environment.caller(),
        "when": evidence.now(),
        "commit": release.commit,
    }
    return evidence.write(
        environment, evidence.approval(role), release.version, release.manifest_sha256, record
    )


@command
def main() -> int:
    """Check that a role can approve, or write its approval."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.approvals", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("--role", required=True)
    parser.add_argument("root", type=Path, nargs="?", help="the release's folder; none: only check")
    arguments = parser.parse_args()
    environment = Environment.load(arguments.env)
    require_role(environment, arguments.role)
    if arguments.root:
        print(approve(environment, arguments.role, Release.of(arguments.root)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
