"""Whether whoever deploys or goes back may do it, asked before anything is changed.

IAM simulates what the phases call, and what CloudFormation calls in the caller's name to make the
resources whose names are known beforehand. What has an ARN that AWS chooses, such as a key or the
workgroup, cannot be asked for; a deploy that is refused such a thing fails before the switch.
"""

from collections.abc import Iterator
from dataclasses import replace

from botocore.exceptions import ClientError

from ops.data.catalog import database_name
from ops.environment import FUNCTIONS, LIVE, STACKS, Environment, OperationError
from ops.release.deploys import DEPLOY, RESTORE, ROLLBACK
from ops.release.permissions import GLUE, LAMBDA, STATES, Need, refusals

# Who the roles are passed to, by the ends of the roles' names.
PASSED = {name: LAMBDA for name in FUNCTIONS} | {"etl-glue": GLUE, "etl-states": STATES}
# What going back by alias calls, of all that a deploy does: it looks, locks, switches and tests.
OF_ROLLBACK = frozenset(
    {
        "cloudformation:DescribeStacks",
        "glue:GetJob",
        "lambda:GetAlias",
        "lambda:GetFunctionConfiguration",
        "lambda:InvokeFunction",
        "lambda:UpdateAlias",
        "redshift-serverless:GetNamespace",
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:ListBucketVersions",
        "s3:PutObject",
        "states:DescribeExecution",
        "states:DescribeStateMachine",
        "states:DescribeStateMachineAlias",
        "states:GetExecutionHistory",
        "states:ListStateMachineVersions",
        "states:StartExecution",
        "states:UpdateStateMachineAlias",
    }
)


def needs_of(environment: Environment, action: str) -> Iterator[Need]:
    """Yield what an action has to be allowed; a restore makes anew whatever a deploy makes."""
    for need in needs(environment):
        if action == ROLLBACK:
            need = replace(need, actions=tuple(sorted(_of_rollback(environment, need))))
        if need.actions:
            yield need
    if action in (ROLLBACK, RESTORE):  # which send again what the trigger has failed on
        place = f"{environment.region}:{environment.account_id}"
        live = f"{environment.function('trigger-etl')}:{LIVE}"
        yield Need(("lambda:InvokeFunction",), f"arn:aws:lambda:{place}:function:{live}")
        yield Need(
            (
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
                "sqs:GetQueueUrl",
                "sqs:ReceiveMessage",
            ),
            f"arn:aws:sqs:{place}:{environment.prefix}-trigger-dead-letters",
        )


def _of_rollback(environment: Environment, need: Need) -> set[str]:
    """Return what a rollback calls: it writes no release and no backup, and calls the trigger."""
    actions = set(OF_ROLLBACK.intersection(need.actions))
    if need.resource.endswith(("/releases/x", "/backups/x")):
        actions -= {"s3:DeleteObject", "s3:PutObject"}
    if environment.function("trigger-etl") not in need.resource:
        actions -= {"lambda:InvokeFunction", "lambda:UpdateAlias"}
    return actions


def needs(environment: Environment) -> Iterator[Need]:
    """Yield what a deploy to the environment has to be allowed."""
    prefix, place = environment.prefix, f"{environment.region}:{environment.account_id}"
    account = environment.account_id
    for stack in STACKS:
        yield Need(
            (
                "cloudformation:CreateChangeSet",
                "cloudformation:DeleteChangeSet",
                "cloudformation:DescribeChangeSet",
                "cloudformation:DescribeStackEvents",
                "cloudformation:DescribeStacks",
                "cloudformation:DetectStackResourceDrift",
                "cloudformation:ExecuteChangeSet",
                "cloudformation:GetTemplate",
                "cloudformation:ListStackResources",
            ),
            f"arn:aws:cloudformation:{place}:stack/{environment.stack(stack)}/*",
        )
    yield from _storage(environment)
    # What names an alias or a version is decided by the qualified ARN too.
    for name in FUNCTIONS:
        yield Need(
            (
                "lambda:CreateAlias",
                "lambda:CreateFunction",
                "lambda:DeleteFunction",
                "lambda:GetAlias",
                "lambda:GetFunction",
                "lambda:GetFunctionCodeSigningConfig",
                "lambda:GetFunctionConcurrency",
                "lambda:GetFunctionConfiguration",
                "lambda:GetFunctionRecursionConfig",
                "lambda:InvokeFunction",
                "lambda:ListVersionsByFunction",
                "lambda:PublishVersion",
                "lambda:UpdateAlias",
                "lambda:UpdateFunctionCode",
                "lambda:UpdateFunctionConfiguration",
            ),
            f"arn:aws:lambda:{place}:function:{environment.function(name)}",
        )
        yield Need(
            (
                "lambda:DeleteFunction",
                "lambda:GetFunction",
                "lambda:GetFunctionConfiguration",
                "lambda:InvokeFunction",
            ),
            f"arn:aws:lambda:{place}:function:{environment.function(name)}:1",
        )
    yield Need(
        (
            "states:CreateStateMachine",
            "states:CreateStateMachineAlias",
            "states:DeleteStateMachineVersion",
            "states:DescribeStateMachine",
            "states:DescribeStateMachineAlias",
            "states:ListExecutions",
            "states:ListStateMachineVersions",
            "states:PublishStateMachineVersion",
            "states:StartExecution",
            "states:UpdateStateMachine",
            "states:UpdateStateMachineAlias",
        ),
        environment.state_machine_arn,
    )
    yield Need(
        ("states:DescribeStateMachineAlias", "states:UpdateStateMachineAlias"),
        f"{environment.state_machine_arn}:{LIVE}",
    )
    yield Need(
        (
            "states:DeleteStateMachineVersion",
            "states:DescribeStateMachine",
            "states:ListExecutions",
            "states:StartExecution",
        ),
        f"{environment.state_machine_arn}:1",
    )
    yield Need(
        ("states:DescribeExecution", "states:GetExecutionHistory"), environment.execution_arn("x")
    )
    yield Need(
        ("glue:CreateJob", "glue:GetJob", "glue:UpdateJob"),
        f"arn:aws:glue:{place}:job/{environment.glue_job}",
    )
    database = database_name(environment)
    yield Need(
        ("glue:CreateDatabase", "glue:GetDatabase"), f"arn:aws:glue:{place}:database/{database}"
    )
    yield Need(
        ("glue:CreateTable", "glue:GetTable", "glue:UpdateTable"),
        f"arn:aws:glue:{place}:table/{database}/x",
    )
    yield from _around(environment, place)
    for name, service in PASSED.items():
        role = f"arn:aws:iam::{account}:role/{prefix}-{name}"
        yield Need(("iam:CreateRole", "iam:GetRole", "iam:PutRolePolicy"), role)
        yield Need(("iam:PassRole",), role, {"iam:PassedToService": service})


def _around(environment: Environment, place: str) -> Iterator[Need]:
    """Yield what the stacks make beside the functions, the job and the state machine."""
    prefix = environment.prefix
    topics = ("sns:CreateTopic", "sns:GetTopicAttributes", "sns:SetTopicAttributes")
    for name in ("notifications", "alarms"):
        yield Need((*topics, "sns:Subscribe"), environment.topic_arn(name))
    yield Need(
        ("sqs:CreateQueue", "sqs:GetQueueAttributes", "sqs:SetQueueAttributes"),
        f"arn:aws:sqs:{place}:{prefix}-trigger-dead-letters",
    )
    yield Need(
        ("events:DescribeRule", "events:PutRule", "events:PutTargets"),
        f"arn:aws:events:{place}:rule/{prefix}-inbox",
    )
    yield Need(("lambda:PublishLayerVersion",), f"arn:aws:lambda:{place}:layer:{prefix}-common")
    yield Need(
        ("lambda:AddPermission", "lambda:PutFunctionEventInvokeConfig"),
        f"arn:aws:lambda:{place}:function:{environment.function('trigger-etl')}",
    )
    audits = (f"/aws/redshift/{prefix}/{log}log" for log in ("connection", "user", "useractivity"))
    for name in (*environment.log_groups.values(), *audits):
        yield Need(
            ("logs:AssociateKmsKey", "logs:CreateLogGroup", "logs:PutRetentionPolicy"),
            f"arn:aws:logs:{place}:log-group:{name}",
        )
    yield Need(("cloudwatch:PutMetricAlarm",), f"arn:aws:cloudwatch:{place}:alarm:{prefix}-x")
    yield Need(("kms:CreateAlias",), f"arn:aws:kms:{place}:alias/{prefix}-data")
    # What has no name yet, or none that AWS takes.
    yield Need(
        (
            "cloudwatch:DescribeAlarms",
            "cloudwatch:GetMetricData",
            "kms:CreateKey",
            "logs:DescribeLogGroups",
            "redshift-serverless:CreateNamespace",
            "redshift-serverless:CreateWorkgroup",
            "redshift-serverless:GetNamespace",
            "redshift-serverless:GetWorkgroup",
        ),
        "*",
    )


def _storage(environment: Environment) -> Iterator[Need]:
    releases, data = (
        f"arn:aws:s3:::{name}" for name in (environment.artifact_bucket, environment.data_bucket)
    )
    for bucket in (releases, data):
        yield Need(
            (
                "s3:CreateBucket",
                "s3:ListBucket",
                "s3:ListBucketVersions",
                "s3:PutBucketOwnershipControls",
                "s3:PutBucketPolicy",
                "s3:PutBucketPublicAccessBlock",
                "s3:PutBucketVersioning",
                "s3:PutEncryptionConfiguration",
                "s3:PutLifecycleConfiguration",
            ),
            bucket,
        )
    yield Need(("s3:PutBucketNotification",), data)
    for folder in ("releases", "deploys", "locks", "backups"):
        yield Need(("s3:GetObject", "s3:PutObject"), f"{releases}/{folder}/x")
    for folder in ("releases", "locks", "backups"):
        yield Need(("s3:DeleteObject",), f"{releases}/{folder}/x")
    yield Need(("s3:GetObject", "s3:PutObject", "s3:DeleteObjectVersion"), f"{data}/data/smoke/x")
    yield Need(("s3:GetObject", "s3:DeleteObjectVersion"), f"{data}/data/runs/x")


def require_permissions(environment: Environment, caller_arn: str, action: str = DEPLOY) -> str:
    """Return what was asked for, in words; raise OperationError with all that is not allowed."""
    if caller_arn.endswith(":root"):
        return "the account's root user: nothing is refused it"
    demanded = list(needs_of(environment, action))
    try:
        iam = environment.client("iam")
        principal = _principal(iam, caller_arn)
        refused = list(refusals(iam, principal, caller_arn, demanded))
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDenied":
            raise
        raise OperationError(
            f"{caller_arn} may not ask IAM what it may do: allow it iam:SimulatePrincipalPolicy "
            f"(and iam:GetRole, where it is a role) on itself. {error}"
        ) from error
    if refused:
        raise OperationError("\n".join(refused))
    return f"{sum(len(need.actions) for need in demanded)} actions are allowed to {caller_arn}"


def _principal(iam, caller_arn: str) -> str:
    """Return whose policies count: the user, or the role that a session is of."""
    _, _, resource = caller_arn.rpartition(":")
    kind, _, name = resource.partition("/")
    if kind != "assumed-role":
        return caller_arn
    return iam.get_role(RoleName=name.partition("/")[0])["Role"]["Arn"]  # with its path
