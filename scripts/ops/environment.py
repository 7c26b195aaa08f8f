"""One environment as the tools see it: its names, its AWS clients, its errors."""

import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config as ClientConfig
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ProfileNotFound,
)

from ops.config import ConfigurationError, load_config
from ops.pipe import until_closed

INBOX = "data/in/"
FAILED = "data/failed/"
LIVE = "live"
STACKS = ("artifacts", "data", "application", "monitoring")
FUNCTIONS = ("trigger-etl", "validate-input", "check-quality", "load-warehouse")
WAREHOUSE_DATABASE = "warehouse"
_REFUSED_CREDENTIALS = {
    "ExpiredToken": "have expired",
    "ExpiredTokenException": "have expired",
    "InvalidClientTokenId": "are unknown to AWS",
}


class OperationError(Exception):
    """What was asked for cannot be done; the message says why and what to do about it."""

    exit_code = 1


@dataclass(frozen=True)
class Environment:
    """An environment's merged configuration and the names that follow from it."""

    name: str
    config: dict[str, Any]
    profile: str | None = None  # the AWS profile that reaches it; None: the caller's own

    @classmethod
    def load(cls, name: str, profile: str | None = None) -> "Environment":
        """Read the configuration of the environment; raise ConfigurationError."""
        return cls(name, load_config(name).values, profile)

    def before(self) -> "Environment | None":
        """The environment that releases are promoted from, by an AWS profile of its own.

        The profile is called as the environment is, or else as FROM_PROFILE says. None for the
        first environment of the promotion path, and for one that is not on it.
        """
        path = load_config(self.name, ()).values["release"]["promotion_path"]
        if self.name not in path[1:]:
            return None
        name = path[path.index(self.name) - 1]
        return Environment.load(name, os.environ.get("FROM_PROFILE") or name)

    @property
    def prefix(self) -> str:
        """First part of every resource's name."""
        return f"{self.config['project']}-{self.name}"

    @property
    def gates(self) -> dict[str, Any]:
        """What the environment demands of a release; what is set at run time loosens nothing."""
        return load_config(self.name, ()).values["gates"]

    @property
    def account_id(self) -> str:
        """The account that this environment lives in."""
        return self.config["aws"]["account_id"]

    @property
    def region(self) -> str:
        """The region that this environment lives in."""
        return self.config["aws"]["region"]

    @property
    def data_bucket(self) -> str:
        """Inbox, runs, archive and failed files."""
        return f"{self.prefix}-data-{self.account_id}"

    @property
    def artifact_bucket(self) -> str:
        """Releases and the records of deploys."""
        return f"{self.prefix}-artifacts-{self.account_id}"

    @property
    def state_machine_arn(self) -> str:
        """The state machine, without version or alias."""
        return f"arn:aws:states:{self.region}:{self.account_id}:stateMachine:{self.prefix}-etl"

    @property
    def glue_job(self) -> str:
        """The job that runs the ETL of every release."""
        return f"{self.prefix}-etl"

    @property
    def log_groups(self) -> dict[str, str]:
        """The log groups of the executions, the functions and the Glue job, each with its own."""
        return {
            "executions": f"/aws/vendedlogs/states/{self.prefix}-etl",
            **{name: f"/aws/lambda/{self.function(name)}" for name in FUNCTIONS},
            "glue output": f"/aws-glue/jobs/{self.glue_job}/output",
            "glue error": f"/aws-glue/jobs/{self.glue_job}/error",
        }

    def execution_arn(self, run_id: str) -> str:
        """The execution of a run: its name is the run's id."""
        return (
            f"arn:aws:states:{self.region}:{self.account_id}:execution:{self.prefix}-etl:{run_id}"
        )

    def topic_arn(self, name: str) -> str:
        """The topic that runs (notifications) or alarms are announced on."""
        return f"arn:aws:sns:{self.region}:{self.account_id}:{self.prefix}-{name}"

    def stack(self, name: str) -> str:
        """The full name of one of STACKS."""
        return f"{self.prefix}-{name}"

    def function(self, name: str) -> str:
        """The full name of a function, such as trigger-etl."""
        return f"{self.prefix}-{name}"

    def client(self, service: str):
        """A client of an AWS service; where it goes is up to the AWS profile."""
        retries = ClientConfig(retries={"mode": "standard", "max_attempts": 5})
        try:
            owner = _session(self.profile) if self.profile else boto3
        except ProfileNotFound as error:
            raise OperationError(
                f"{self.name} is reached by an AWS profile of its own, and there is none called "
                f"{self.profile}: name it, FROM_PROFILE=<profile>"
            ) from error
        return owner.client(service, region_name=self.region, config=retries)

    def caller(self) -> str:
        """The ARN of the caller; raises OperationError for credentials that AWS does not take, or
        that are of another account."""
        try:
            identity = self.client("sts").get_caller_identity()
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in _REFUSED_CREDENTIALS:
                raise
            raise OperationError(
                f"the credentials {_REFUSED_CREDENTIALS[code]} ({code}): get new ones where yours "
                "come from (such as aws sso login), then run the same command again"
            ) from error
        if identity["Account"] != self.account_id:
            raise OperationError(
                f"the credentials are of account {identity['Account']}; {self.name} is "
                f"configured for account {self.account_id}"
            )
        return identity["Arn"]

    def dataset(self, name: str) -> dict[str, Any]:
        """Return a dataset's configuration; raise OperationError with the names of all."""
        datasets = self.config["datasets"]
        if name not in datasets:
            raise OperationError(f"no dataset {name!r}; configured are: {', '.join(datasets)}")
        return datasets[name]

    def has_warehouse(self) -> bool:
        """Whether the environment's warehouse has been made."""
        try:
            self.client("redshift-serverless").get_namespace(namespaceName=self.prefix)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            return False
        return True

    def require_deployed(self) -> None:
        """Raise OperationError when the environment has no release that could take a file."""
        try:
            self.client("cloudformation").describe_stacks(StackName=self.stack("application"))
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
            raise OperationError(
                f"{self.name} is not deployed: there is no stack {self.stack('application')}; "
                f"run: make deploy ENV={self.name}"
            ) from error


@functools.cache
def _session(profile: str) -> boto3.Session:
    return boto3.Session(profile_name=profile)


def command(main: Callable[[], int]) -> Callable[[], int]:
    """Turn what can go wrong outside this code into its reason on stderr and exit code 1.

    An OperationError may bring an exit code of its own.
    """

    @functools.wraps(main)
    @until_closed
    def run() -> int:
        tool, code = Path(sys.argv[0]).stem, 1
        try:
            return main()
        except OperationError as error:
            reason, code = str(error), error.exit_code
        except ConfigurationError as error:
            reason = str(error)
        except EndpointConnectionError as error:
            reason = f"{error}; is local AWS running? (make up)"
        except (NoCredentialsError, ProfileNotFound) as error:
            reason = f"{error}; run it through make, or set AWS_PROFILE yourself"
        except (ClientError, BotoCoreError) as error:
            reason = f"AWS refused: {error}"
        except KeyboardInterrupt:
            print(f"{tool}: interrupted; nothing that runs on AWS was stopped", file=sys.stderr)
            return 130
        print(f"{tool}: {reason}", file=sys.stderr)
        # A script that keeps a record asks for the reason (scripts/lib/operation.sh).
        if file := os.environ.get("REASON_FILE"):
            Path(file).write_text(reason + "\n", encoding="utf-8")
        return code

    return run
