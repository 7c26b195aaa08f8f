"""Deploys templates to local AWS as the deploy scripts do (change sets), and resolves them."""

import copy
import io
import re
import time
import uuid
import zipfile
from dataclasses import dataclass, field

import boto3
import botocore.exceptions
import yaml
from ops.checks.iam_check import TEMPLATES, load_template

STACKS = ("artifacts", "data", "application", "monitoring")
PREFIX = "retail-pipeline-dev"
NAMES = {"ProjectName": "retail-pipeline", "EnvironmentName": "dev"}
FUNCTIONS = ("trigger_etl", "validate_input", "check_quality", "load_warehouse")
PARAMETERS: dict[str, dict[str, str]] = {
    "artifacts": {},
    "data": {},
    "application": {"ReleaseVersion": "20260101-0123456789ab"},
    "monitoring": {},
}
TAGS = {"Project": "retail-pipeline", "Environment": "dev", "Owner": "data-engineering"}


def load(stack: str) -> dict:
    """Return the template of a stack with intrinsic functions in their long forms."""
    return load_template(TEMPLATES / f"{stack}.yaml")


def archive(module: str, text: str) -> bytes:
    """Return a zip with one module."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(f"{module}.py", text)
    return buffer.getvalue()


def upload_release(session, version: str) -> None:
    """Put stand-ins for a release's archives where the application stack looks for them."""
    s3 = session.client("s3")
    account = session.client("sts").get_caller_identity()["Account"]
    bucket = f"{PREFIX}-artifacts-{account}"
    code = f"def handler(event, context):\n    return {version!r}\n"
    for function in FUNCTIONS:
        key = f"releases/{version}/lambdas/{function}.zip"
        s3.put_object(Bucket=bucket, Key=key, Body=archive(function, code))
    layer = archive("python/pipeline_common", f"VERSION = {version!r}\n")
    s3.put_object(Bucket=bucket, Key=f"releases/{version}/layers/common.zip", Body=layer)


@dataclass
class Deployer:
    """Creates and updates stacks in one account through change sets."""

    session: boto3.Session
    client: object = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.session.client("cloudformation")

    def deploy(
        self, name: str, template: dict | str, parameters: dict[str, str] | None = None, tags=None
    ) -> dict:
        """Deploy through a change set; return the stack's description.

        Raises RuntimeError with the reason when the change set fails, with the failed events when
        the stack does not reach its end, and ClientError when the template is refused.
        """
        change_set = self.prepare(name, template, parameters, tags)
        if change_set["Status"] == "FAILED":
            raise RuntimeError(change_set["StatusReason"])
        self.client.execute_change_set(ChangeSetName=change_set["ChangeSetId"])
        return self.settled(name)

    def prepare(self, name, template, parameters=None, tags=None) -> dict:
        """Create a change set and return its description."""
        exists = True
        try:
            self.client.describe_stacks(StackName=name)
        except botocore.exceptions.ClientError:
            exists = False
        change_set = self.client.create_change_set(
            StackName=name,
            ChangeSetName=f"test-{uuid.uuid4()}",
            ChangeSetType="UPDATE" if exists else "CREATE",
            TemplateBody=template if isinstance(template, str) else yaml.safe_dump(template),
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value}
                for key, value in (parameters or {}).items()
            ],
            Capabilities=["CAPABILITY_NAMED_IAM"],
            Tags=[
                {"Key": key, "Value": value}
                for key, value in (TAGS if tags is None else tags).items()
            ],
        )
        return self.client.describe_change_set(ChangeSetName=change_set["Id"])

    def settled(self, name: str) -> dict:
        """Wait for the end of what the stack is doing; raise RuntimeError if it failed."""
        stack = self.client.describe_stacks(StackName=name)["Stacks"][0]
        while stack["StackStatus"].endswith("_IN_PROGRESS"):
            time.sleep(0.05)
            stack = self.client.describe_stacks(StackName=stack["StackId"])["Stacks"][0]
        if stack["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE"):
            raise RuntimeError(f"{name} {stack['StackStatus']}: {self.failures(stack['StackId'])}")
        return stack

    def failures(self, name: str) -> list[str]:
        """Return the reasons of the stack's failed events, latest first."""
        events = self.client.describe_stack_events(StackName=name)["StackEvents"]
        return [
            f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
            for event in events
            if event["ResourceStatus"].endswith("_FAILED")
        ]

    def delete(self, name: str) -> None:
        """Delete a stack and wait for its end."""
        stack_id = self.client.describe_stacks(StackName=name)["Stacks"][0]["StackId"]
        self.client.delete_stack(StackName=name)
        self.settled(stack_id)

    def resources(self, name: str) -> dict[str, dict]:
        """Return the stack's resources by logical id."""
        found = self.client.describe_stack_resources(StackName=name)["StackResources"]
        return {resource["LogicalResourceId"]: resource for resource in found}


class Resolver:
    """Resolves a template's intrinsic functions from what the services' APIs say."""

    def __init__(self, deployer: Deployer, stack: dict, template: dict):
        self.template = template
        self.session = deployer.session
        self.account = stack["StackId"].split(":")[4]
        self.resources = deployer.resources(stack["StackName"])
        self.exports = {
            export["Name"]: export["Value"]
            for page in deployer.client.get_paginator("list_exports").paginate()
            for export in page["Exports"]
        }
        self.values = {
            parameter["ParameterKey"]: parameter["ParameterValue"]
            for parameter in stack.get("Parameters", [])
        } | {
            "AWS::AccountId": self.account,
            "AWS::Partition": "aws",
            "AWS::Region": "us-east-1",
            "AWS::StackName": stack["StackName"],
            "AWS::NoValue": None,
        }

    def properties(self, logical_id: str) -> dict:
        """Return the resource's properties as AWS would be told them."""
        raw = self.template["Resources"][logical_id].get("Properties", {})
        return self._resolve(copy.deepcopy(raw))

    def exists(self, logical_id: str) -> bool:
        """Say whether the resource's condition holds."""
        condition = self.template["Resources"][logical_id].get("Condition")
        return condition is None or self._condition(self.template["Conditions"][condition])

    def _resolve(self, value):
        if isinstance(value, list):
            return [self._resolve(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            function, argument = next(iter(value.items()))
            if function == "Ref":
                return self._reference(argument)
            if function.startswith("Fn::"):
                return getattr(self, "_" + function[4:].lower())(argument)
        resolved = {key: self._resolve(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not None}

    def _reference(self, name: str):
        if name in self.values:
            value = self.values[name]
            kind = self.template.get("Parameters", {}).get(name, {}).get("Type", "")
            return value.split(",") if kind == "CommaDelimitedList" else value
        return self.resources[name]["PhysicalResourceId"]

    def _sub(self, text: str) -> str:
        def replace(match: re.Match) -> str:
            name, _, attribute = match[1].partition(".")
            return self._getatt([name, attribute]) if attribute else self._reference(name)

        return re.sub(r"\$\{([^}]+)\}", replace, text)

    def _getatt(self, argument) -> str:
        logical_id, attribute = (
            argument.split(".", 1) if isinstance(argument, str) else tuple(argument)
        )
        name = self.resources[logical_id]["PhysicalResourceId"]
        type_ = self.template["Resources"][logical_id]["Type"]
        return attribute_of(self.session, self.account, type_, name, attribute)

    def _importvalue(self, name) -> str:
        return self.exports[self._resolve(name)]

    def _if(self, argument):
        condition, yes, no = argument
        holds = self._condition(self.template["Conditions"][condition])
        return self._resolve(yes if holds else no)

    def _condition(self, expression: dict) -> bool:
        function, argument = next(iter(expression.items()))
        if function == "Fn::Not":
            return not self._condition(argument[0])
        assert function == "Fn::Equals", f"the test knows no {function}"
        left, right = (self._resolve(side) for side in argument)
        return left == right

    def _join(self, argument) -> str:
        separator, items = argument
        return separator.join(self._resolve(items))

    def _split(self, argument) -> list[str]:
        separator, text = argument
        return self._resolve(text).split(separator)

    def _select(self, argument):
        index, items = argument
        return self._resolve(items)[index]


def attribute_of(session, account: str, type_: str, name: str, attribute: str) -> str:
    """Return a resource's attribute as AWS documents it."""
    arns = {
        "AWS::IAM::Role": f"arn:aws:iam::{account}:role/{name}",
        "AWS::KMS::Key": f"arn:aws:kms:us-east-1:{account}:key/{name}",
        "AWS::Lambda::Function": f"arn:aws:lambda:us-east-1:{account}:function:{name}",
        "AWS::Events::Rule": f"arn:aws:events:us-east-1:{account}:rule/{name}",
        "AWS::Logs::LogGroup": f"arn:aws:logs:us-east-1:{account}:log-group:{name}:*",
        "AWS::S3::Bucket": f"arn:aws:s3:::{name}",
        "AWS::SQS::Queue": f"arn:aws:sqs:us-east-1:{account}:{name.rsplit('/', 1)[-1]}",
    }
    if attribute == "Arn":
        return arns[type_]
    if (type_, attribute) == ("AWS::SQS::Queue", "QueueName"):
        return name.rsplit("/", 1)[-1]
    if (type_, attribute) == ("AWS::RedshiftServerless::Workgroup", "Workgroup.WorkgroupArn"):
        workgroups = session.client("redshift-serverless")
        return workgroups.get_workgroup(workgroupName=name)["workgroup"]["workgroupArn"]
    raise KeyError(f"the test does not know {type_} {attribute}")
