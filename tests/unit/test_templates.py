"""The templates' policies and protections, checked without an account."""

import copy

import pytest
from ops.checks.iam_check import TEMPLATES, load_template, policy_findings

ALL = {path.name: load_template(path) for path in sorted(TEMPLATES.glob("*.yaml"))}
STATEFUL = {
    "AWS::S3::Bucket",
    "AWS::KMS::Key",
    "AWS::RedshiftServerless::Namespace",
    "AWS::Lambda::LayerVersion",
}


def resources(type_: str) -> list:
    return [
        pytest.param(resource, id=logical_id)
        for template in ALL.values()
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == type_
    ]


def test_policies_name_their_actions_and_resources():
    assert len(ALL) == 4
    assert policy_findings(ALL) == []


def statement(template: dict, role: str, sid: str) -> dict:
    properties = template["Resources"][role]["Properties"]
    statements = properties["Policies"][0]["PolicyDocument"]["Statement"]
    return next(found for found in statements if found["Sid"] == sid)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"Action": "s3:*"}, "the action s3:* is a wildcard"),
        ({"Action": "s3:GetObjet"}, "AWS knows no action s3:GetObjet"),
        ({"Resource": "*"}, "s3:GetObject on every resource"),
        ({"NotResource": "*"}, "NotResource allows whatever is not named"),
    ],
)
def test_a_loose_policy_is_found(change, finding):
    templates = copy.deepcopy(ALL)
    statement(templates["application.yaml"], "CheckRole", "ReadReports").update(change)
    findings = policy_findings(templates)
    assert len(findings) == 1
    assert findings[0].startswith("application.yaml: CheckRole.Policies")
    assert finding in findings[0]


def test_an_open_topic_is_found():
    templates = copy.deepcopy(ALL)
    policy = templates["monitoring.yaml"]["Resources"]["AlarmsTopicPolicy"]["Properties"]
    policy["PolicyDocument"]["Statement"][0]["Principal"] = "*"
    assert ["every principal is allowed" in found for found in policy_findings(templates)] == [True]


def test_a_role_of_two_functions_and_one_of_none_are_found():
    templates = copy.deepcopy(ALL)
    check = templates["application.yaml"]["Resources"]["CheckFunction"]["Properties"]
    check["Role"] = {"Fn::GetAtt": "LoadRole.Arn"}
    assert policy_findings(templates) == [
        "application.yaml: CheckRole is used by 0 principals: one role serves exactly one",
        "application.yaml: LoadRole is used by 2 principals: one role serves exactly one",
    ]


@pytest.mark.parametrize("bucket", resources("AWS::S3::Bucket"))
def test_buckets_are_versioned_encrypted_and_closed(bucket):
    properties = bucket["Properties"]
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert properties["BucketEncryption"]
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert properties["OwnershipControls"] == {
        "Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]
    }


@pytest.mark.parametrize(
    "policy",
    [
        *resources("AWS::S3::BucketPolicy"),
        *resources("AWS::SNS::TopicPolicy"),
        *resources("AWS::SQS::QueuePolicy"),
    ],
)
def test_plain_http_is_denied(policy):
    denials = [
        found
        for found in policy["Properties"]["PolicyDocument"]["Statement"]
        if found["Effect"] == "Deny"
    ]
    assert [found["Condition"] for found in denials] == [{"Bool": {"aws:SecureTransport": False}}]
    assert denials[0]["Principal"] == "*"


@pytest.mark.parametrize(
    ("type_", "policy_type", "target"),
    [
        ("AWS::S3::Bucket", "AWS::S3::BucketPolicy", "Bucket"),
        ("AWS::SNS::Topic", "AWS::SNS::TopicPolicy", "Topics"),
        ("AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "Queues"),
    ],
)
def test_each_bucket_topic_and_queue_has_a_policy(type_, policy_type, target):
    for template in ALL.values():
        of_type = {
            name: found for name, found in template["Resources"].items() if found["Type"] == type_
        }
        targets = [
            found["Properties"][target]
            for found in template["Resources"].values()
            if found["Type"] == policy_type
        ]
        covered = {
            reference["Ref"]
            for references in targets
            for reference in (references if isinstance(references, list) else [references])
        }
        assert covered == of_type.keys()


@pytest.mark.parametrize("group", resources("AWS::Logs::LogGroup"))
def test_logs_are_encrypted_and_expire(group):
    assert {"KmsKeyId", "RetentionInDays"} <= group["Properties"].keys()


@pytest.mark.parametrize(
    "resource", [found for type_ in sorted(STATEFUL) for found in resources(type_)]
)
def test_what_cannot_be_made_again_outlives_its_stack(resource):
    assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"


@pytest.mark.parametrize("name", sorted(ALL))
def test_parameters_outputs_and_template_are_described(name):
    template = ALL[name]
    assert template["Description"]
    for parameter in template["Parameters"].values():
        assert parameter["Description"]
        assert {"AllowedPattern", "AllowedValues", "MinValue"} & parameter.keys() or parameter[
            "Type"
        ] == "CommaDelimitedList"
    for output_name, output in template["Outputs"].items():
        assert output["Description"]
        assert output["Export"]["Name"] == {"Fn::Sub": f"${{AWS::StackName}}-{output_name}"}
