"""A warehouse for tests, as its users reach it: through the Data API."""

import functools
import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

ENDED = ("FINISHED", "FAILED", "ABORTED")


@dataclass
class Warehouse:
    """A workgroup's database as its users reach it: through the Data API."""

    aws: Any
    workgroup: str
    profile: str = "dev"
    database: str = "warehouse"
    arguments: dict[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def client(self):
        """The Data API's client of the profile's administrator."""
        return self.aws.session(self.profile).client("redshift-data")

    def submit(self, *sqls: str, **arguments) -> str:
        """Submit one statement, or several as one transaction; return the id."""
        target = {"WorkgroupName": self.workgroup, "Database": self.database, **self.arguments}
        if len(sqls) == 1:
            submitted = self.client.execute_statement(Sql=sqls[0], **target, **arguments)
        else:
            submitted = self.client.batch_execute_statement(Sqls=list(sqls), **target, **arguments)
        return submitted["Id"]

    def wait(self, statement: str) -> dict[str, Any]:
        """Return the description of a statement that has ended."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            described = self.client.describe_statement(Id=statement, WaitTimeSeconds=5)
            if described["Status"] in ENDED:
                return described
        raise TimeoutError(f"statement {statement} did not end")

    def run(self, *sqls: str, **arguments) -> list[tuple]:
        """Run one statement, or several in one transaction; return the (last) result's rows."""
        statement = self.submit(*sqls, **arguments)
        described = self.wait(statement)
        assert described["Status"] == "FINISHED", described.get("Error")
        last = described["SubStatements"][-1] if len(sqls) > 1 else described
        if not last["HasResultSet"]:
            return []
        return self.rows(last["Id"])

    def rows(self, statement: str) -> list[tuple]:
        """Return all rows of a result, None for NULL."""
        pages = self.client.get_paginator("get_statement_result").paginate(Id=statement)
        return [
            tuple(None if "isNull" in value else next(iter(value.values())) for value in record)
            for page in pages
            for record in page["Records"]
        ]

    def error(self, *sqls: str, **arguments) -> str:
        """Run what must fail; return the error."""
        described = self.wait(self.submit(*sqls, **arguments))
        assert described["Status"] == "FAILED", described
        return described["Error"]


def make_warehouse(local_aws, profile: str) -> Warehouse:
    """Create a namespace and a workgroup; the warehouse is used as its administrator."""
    name = f"wh-{uuid.uuid4().hex[:8]}"
    client = local_aws.session(profile).client("redshift-serverless")
    made = client.create_namespace(
        namespaceName=name, dbName="warehouse", adminUsername="wadmin", manageAdminPassword=True
    )["namespace"]
    client.create_workgroup(namespaceName=name, workgroupName=name)
    administrator = {"SecretArn": made["adminPasswordSecretArn"]}
    return Warehouse(local_aws, name, profile, arguments=administrator)


def make_role(local_aws, profile: str, principal: dict, policy: list[dict], tags=()) -> str:
    """Create an IAM role that a principal may assume, with an inline policy; return its ARN."""
    iam = local_aws.session(profile).client("iam")
    name = f"role-{uuid.uuid4().hex[:8]}"
    trust = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    role = iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        Tags=list(tags),
    )
    if policy:
        document = {"Version": "2012-10-17", "Statement": policy}
        iam.put_role_policy(RoleName=name, PolicyName="policy", PolicyDocument=json.dumps(document))
    return role["Role"]["Arn"]
