"""What each role must be allowed, since its function, the job or the state machine does it.

The templates give the rights; this is what the code needs of them. A unit test holds the two side
by side, and `make preflight` asks IAM whether what is deployed still allows it.
"""

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ops.data.catalog import database_name
from ops.environment import Environment

SIMULATIONS_AT_ONCE = 4  # IAM takes fewer calls at a time than other services
CALLER = "AROAEXAMPLE:preflight"  # the session whose statements load_warehouse follows

LAMBDA, GLUE, STATES = "lambda.amazonaws.com", "glue.amazonaws.com", "states.amazonaws.com"
REDSHIFT = "redshift-serverless.amazonaws.com"


@dataclass(frozen=True)
class Need:
    """Actions on one resource, asked for with these condition keys."""

    actions: tuple[str, ...]
    resource: str
    context: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Role:
    """A role, who runs under it, and what that does."""

    name: str
    service: str
    needs: tuple[Need, ...]


def roles(environment: Environment, key_arn: str, workgroup_arn: str) -> list[Role]:
    """Return the environment's roles; the key and the workgroup have names that AWS gave."""
    prefix = environment.prefix
    place = f"{environment.region}:{environment.account_id}"
    data = f"arn:aws:s3:::{environment.data_bucket}"
    releases = f"arn:aws:s3:::{environment.artifact_bucket}/releases/v1"
    config = Need(("s3:GetObject",), f"{releases}/config/{environment.name}.json")
    tell_missing = Need(("s3:ListBucket",), data)
    decrypt = Need(("kms:Decrypt",), key_arn)
    use_key = Need(("kms:Decrypt", "kms:GenerateDataKey"), key_arn)

    def logs(group: str) -> Need:
        stream = f"arn:aws:logs:{place}:log-group:{group}:log-stream:s"
        return Need(("logs:CreateLogStream", "logs:PutLogEvents"), stream)

    def objects(folder: str, *actions: str) -> Need:
        return Need(tuple(f"s3:{action}" for action in actions), f"{data}/data/{folder}/x.csv")

    def function(name: str, *needs: Need) -> Role:
        return Role(f"{prefix}-{name}", LAMBDA, (logs(f"/aws/lambda/{prefix}-{name}"), *needs))

    return [
        function(
            "trigger-etl",
            Need(("states:StartExecution",), f"{environment.state_machine_arn}:live"),
            Need(("states:DescribeExecution",), environment.execution_arn("x")),
            objects("in", "DeleteObjectVersion", "GetObjectVersion"),
            Need(("s3:ListBucketVersions",), data, {"s3:prefix": "data/in/x.csv"}),
            objects("archive", "GetObject"),
            tell_missing,
            decrypt,
            Need(("sqs:SendMessage",), f"arn:aws:sqs:{place}:{prefix}-trigger-dead-letters"),
        ),
        function(
            "validate-input",
            config,
            objects("in", "GetObjectVersion"),
            objects("smoke", "GetObjectVersion"),
            objects("staging", "PutObject"),
            tell_missing,
            use_key,
        ),
        function(
            "check-quality",
            config,
            objects("runs", "GetObject"),
            objects("history", "PutObject"),
            Need(("s3:PutObject",), f"{data}/data/runs/x/report.html"),
            tell_missing,
            use_key,
        ),
        function(
            "load-warehouse",
            config,
            Need(
                ("redshift-data:BatchExecuteStatement", "redshift-serverless:GetCredentials"),
                workgroup_arn,
            ),
            Need(
                ("redshift-data:CancelStatement", "redshift-data:DescribeStatement"),
                "*",
                {"redshift-data:statement-owner-iam-userid": CALLER, "aws:userid": CALLER},
            ),
        ),
        Role(
            f"{prefix}-etl-glue",
            GLUE,
            (
                logs(f"/aws-glue/jobs/{prefix}-etl/output"),
                logs(f"/aws-glue/jobs/{prefix}-etl/error"),
                Need(("cloudwatch:PutMetricData",), "*", {"cloudwatch:namespace": "Glue"}),
                Need(("s3:GetObject",), f"{releases}/glue/etl_main.py"),
                *(
                    Need(("s3:GetObject",), f"{data}/{folder}")
                    for folder in ("data", "data/runs", "data/staging")
                ),
                objects("staging", "GetObject"),
                objects("history", "GetObject"),
                objects("runs", "AbortMultipartUpload", "DeleteObject", "GetObject", "PutObject"),
                Need(("s3:GetBucketLocation", "s3:ListBucket"), data),
                use_key,
            ),
        ),
        Role(
            f"{prefix}-etl-states",
            STATES,
            (
                *(
                    Need(
                        ("lambda:InvokeFunction",),
                        f"arn:aws:lambda:{place}:function:{prefix}-{name}:1",
                    )
                    for name in ("validate-input", "check-quality", "load-warehouse")
                ),
                Need(
                    tuple(
                        f"glue:{action}"
                        for action in ("BatchStopJobRun", "GetJobRun", "GetJobRuns", "StartJobRun")
                    ),
                    f"arn:aws:glue:{place}:job/{prefix}-etl",
                ),
                Need(
                    ("glue:CreatePartition", "glue:GetTable"),
                    f"arn:aws:glue:{place}:table/{database_name(environment)}/x",
                ),
                objects("in", "GetObjectVersion", "DeleteObjectVersion"),
                objects("smoke", "GetObjectVersion", "DeleteObjectVersion", "PutObject"),
                objects("staging", "GetObject"),
                objects("archive", "PutObject"),
                objects("failed", "PutObject"),
                tell_missing,
                use_key,
                Need(("sns:Publish",), f"arn:aws:sns:{place}:{prefix}-notifications"),
                Need(
                    (
                        "logs:CreateLogDelivery",
                        "logs:DeleteLogDelivery",
                        "logs:DescribeLogGroups",
                        "logs:DescribeResourcePolicies",
                        "logs:GetLogDelivery",
                        "logs:ListLogDeliveries",
                        "logs:PutResourcePolicy",
                        "logs:UpdateLogDelivery",
                        "xray:GetSamplingRules",
                        "xray:GetSamplingTargets",
                        "xray:PutTelemetryRecords",
                        "xray:PutTraceSegments",
                    ),
                    "*",
                ),
            ),
        ),
        Role(
            f"{prefix}-warehouse-copy",
            REDSHIFT,
            (
                objects("runs", "GetObject"),
                Need(("s3:GetBucketLocation", "s3:ListBucket"), data),
                decrypt,
            ),
        ),
    ]


def denials(environment: Environment, role: Role) -> Iterator[str]:
    """Yield each service that may not assume the role, and each thing it is not allowed.

    Raises ClientError (NoSuchEntity) where there is no such role.
    """
    iam = environment.client("iam")
    found = iam.get_role(RoleName=role.name)["Role"]
    trusted = found["AssumeRolePolicyDocument"]
    if isinstance(trusted, str):
        trusted = json.loads(trusted)
    if role.service not in json.dumps(trusted):
        yield f"{role.name} does not trust {role.service}"

    yield from refusals(iam, found["Arn"], role.name, role.needs)


def refusals(iam, principal_arn: str, name: str, needs: Iterable[Need]) -> Iterator[str]:
    """Yield each thing that IAM would refuse a user or role, which is called by this name."""

    def simulate(need: Need) -> list[str]:
        answers = iam.simulate_principal_policy(
            PolicySourceArn=principal_arn,
            ActionNames=list(need.actions),
            ResourceArns=[need.resource],
            ContextEntries=[
                {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
                for key, value in need.context.items()
            ],
        )["EvaluationResults"]
        return [
            f"{name} is not allowed {answer['EvalActionName']} on {need.resource} "
            f"({answer['EvalDecision']})"
            for answer in answers
            if answer["EvalDecision"] != "allowed"
        ]

    with ThreadPoolExecutor(SIMULATIONS_AT_ONCE) as pool:
        for denied in pool.map(simulate, needs):
            yield from denied
