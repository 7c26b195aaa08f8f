"""A release's state machine definition in one environment, with everything that it calls pinned."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from ops.build.manifest import read
from ops.data.catalog import database_name
from ops.environment import WAREHOUSE_DATABASE, Environment, OperationError, command
from ops.release.render import RenderError, render

DEFINITION = "step-functions/etl_pipeline.asl.json"
# The functions that it calls; the trigger stands before it.
PINNED = ("check_quality", "load_warehouse", "validate_input")


def values(environment: Environment, root: Path, functions: Mapping[str, str]) -> dict[str, str]:
    """Return what the placeholders stand for in the release at `root`.

    `functions` has the version's ARN of each of PINNED.
    """
    manifest = read(root)
    address = f"s3://{environment.artifact_bucket}/releases/{manifest['version']}"
    (wheel,) = (item["path"] for item in manifest["artifacts"] if item["path"].endswith(".whl"))
    arns = {f"{name.title().replace('_', '')}Arn": functions[name] for name in PINNED}
    return arns | {
        "ReleaseVersion": manifest["version"],
        "GlueJobName": environment.glue_job,
        "GlueScriptUri": f"{address}/glue/etl_main.py",
        "GlueWheelUri": f"{address}/{wheel}",
        "ConfigUri": f"{address}/config/{environment.name}.json",
        "DataBucket": environment.data_bucket,
        "WorkgroupName": environment.prefix,
        "Database": WAREHOUSE_DATABASE,
        "CatalogDatabase": database_name(environment),
        "NotificationsTopicArn": (
            f"arn:aws:sns:{environment.region}:{environment.account_id}:"
            f"{environment.prefix}-notifications"
        ),
    }


def definition(environment: Environment, root: Path, functions: Mapping[str, str]) -> str:
    """Return the definition of the release at `root`; raise RenderError."""
    template = (root / DEFINITION).read_text(encoding="utf-8")
    return render(template, values(environment, root, functions))


@command
def main() -> int:
    """Print the definition of the release at a folder."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.definition", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument(
        "--versions", type=Path, required=True, help="a folder with a function's version ARN a file"
    )
    parser.add_argument("root", type=Path, help="the release's folder")
    arguments = parser.parse_args()
    functions = {
        name: (arguments.versions / name).read_text(encoding="utf-8").strip() for name in PINNED
    }
    try:
        print(definition(Environment.load(arguments.env), arguments.root, functions), end="")
    except RenderError as error:
        raise OperationError(f"{arguments.root / DEFINITION}: {error}") from error
    return 0


if __name__ == "__main__":
    sys.exit(main())
