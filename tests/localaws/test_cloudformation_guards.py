"""Local CloudFormation refuses what AWS would refuse, and undoes what fails halfway."""

import copy
import json

import botocore.exceptions
import pytest
from tests.integration.cloudformation_stacks import Deployer, archive

TOPIC = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "guarded"}}
ROLE = {
    "Type": "AWS::IAM::Role",
    "Properties": {
        "RoleName": "guarded",
        "AssumeRolePolicyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "lambda.amazonaws.com"},
                    "Action": "sts:AssumeRole",
                }
            ],
        },
    },
}


def group(name: str, **properties) -> dict:
    return {
        "Type": "AWS::Logs::LogGroup",
        "Properties": {"LogGroupName": f"/guards/{name}", **properties},
    }


@pytest.fixture(name="deployer")
def fixture_deployer(local_aws) -> Deployer:
    return Deployer(local_aws.session("qa"))


@pytest.fixture(name="name")
def fixture_name(deployer, request):
    """A stack name of the test's own; the stack is deleted afterwards."""
    name = request.node.originalname.replace("_", "-")
    yield name
    try:
        deployer.client.update_termination_protection(
            StackName=name, EnableTerminationProtection=False
        )
        deployer.delete(name)
    except botocore.exceptions.ClientError as error:
        assert "does not exist" in str(error)


def retention(deployer: Deployer, name: str) -> int | None:
    groups = deployer.session.client("logs").describe_log_groups(
        logGroupNamePrefix=f"/guards/{name}"
    )["logGroups"]
    return groups[0].get("retentionInDays") if groups else None


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            {"Resources": {"T": {**TOPIC, "Properties": {"TopicNam": "x"}}}},
            "resource T: localaws does not simulate AWS::SNS::Topic.TopicNam",
        ),
        (
            {
                "Resources": {
                    "B": {
                        "Type": "AWS::S3::Bucket",
                        "Properties": {
                            "LifecycleConfiguration": {
                                "Rules": [{"Status": "Enabled", "ExpireInDays": 3}]
                            }
                        },
                    }
                }
            },
            "AWS::S3::Bucket.LifecycleConfiguration.Rules.ExpireInDays",
        ),
        (
            {"Resources": {"D": {"Type": "AWS::DynamoDB::Table", "Properties": {}}}},
            "localaws does not simulate the type AWS::DynamoDB::Table",
        ),
        (
            {"Resources": {"T": {"Type": "AWS::SNS::Topick", "Properties": {}}}},
            "Unrecognized resource types: [AWS::SNS::Topick]",
        ),
        (
            {"Resources": {"T": {**TOPIC, "Properties": {"TopicName": {"Ref": "Nobody"}}}}},
            "Unresolved resource dependencies [Nobody]",
        ),
        (
            {"Resources": {"T": {**TOPIC, "Properties": {"TopicName": {"Fn::Sub": "${No.Arn}"}}}}},
            "Unresolved resource dependencies [No]",
        ),
        (
            {"Resources": {"T": {**TOPIC, "DependsOn": "Nobody"}}},
            "Unresolved resource dependencies [Nobody] in DependsOn of T",
        ),
        (
            {"Resources": {"T": TOPIC}, "Outputs": {"O": {"Value": {"Fn::GetAtt": ["U", "Arn"]}}}},
            "Unresolved resource dependencies [U] in the Outputs block",
        ),
        (
            {"Resources": {"T": {**TOPIC, "Condition": "Never"}}},
            "Unresolved condition dependency Never",
        ),
        (
            {
                "Resources": {
                    "T": {**TOPIC, "Properties": {"TopicName": {"Fn::GetAtt": ["U", "TopicName"]}}},
                    "U": {**TOPIC, "DependsOn": "T"},
                }
            },
            "Circular dependency",
        ),
        (
            {
                "Conditions": {"C": {"Fn::Equals": [{"Fn::Join": ["", ["a"]]}, "a"]}},
                "Resources": {"T": {**TOPIC, "Condition": "C"}},
            },
            "condition C: localaws does not simulate Fn::Join",
        ),
    ],
)
@pytest.mark.parametrize("entry", ["change set", "stack"])
def test_a_faulty_template_is_refused_before_anything_is_made(
    deployer, name, template, message, entry
):
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        if entry == "change set":
            deployer.deploy(name, template)
        else:
            deployer.client.create_stack(StackName=name, TemplateBody=json.dumps(template))
    assert refused.value.response["Error"]["Code"] == "ValidationError"
    assert message in str(refused.value)


def test_an_unknown_attribute_fails_the_stack(deployer, name):
    template = {
        "Resources": {"T": TOPIC, "G": group("a", KmsKeyId={"Fn::GetAtt": ["T", "Colour"]})}
    }
    with pytest.raises(RuntimeError, match="attribute Colour does not exist in schema"):
        deployer.deploy(name, template)
    assert deployer.session.client("sns").list_topics()["Topics"] == []


def test_a_missing_import_fails_the_stack(deployer, name):
    template = {"Resources": {"G": group("a", KmsKeyId={"Fn::ImportValue": "nobody-exports"})}}
    with pytest.raises(RuntimeError, match="nobody-exports"):
        deployer.deploy(name, template)


@pytest.mark.parametrize("capabilities", [[], ["CAPABILITY_IAM"]])
def test_a_named_role_needs_its_capability(deployer, name, capabilities):
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        deployer.client.create_change_set(
            StackName=name,
            ChangeSetName="first",
            ChangeSetType="CREATE",
            TemplateBody=json.dumps({"Resources": {"R": ROLE}}),
            Capabilities=capabilities,
        )
    assert refused.value.response["Error"]["Code"] == "InsufficientCapabilitiesException"


@pytest.mark.parametrize(
    ("resource", "make"),
    [
        (group("taken"), lambda s: s.client("logs").create_log_group(logGroupName="/guards/taken")),
        (TOPIC, lambda s: s.client("sns").create_topic(Name="guarded")),
    ],
)
def test_a_taken_name_is_not_overwritten(deployer, name, resource, make):
    make(deployer.session)
    try:
        with pytest.raises(RuntimeError, match="already exists"):
            deployer.deploy(name, {"Resources": {"R": resource}})
        groups = deployer.session.client("logs").describe_log_groups()["logGroups"]
        topics = deployer.session.client("sns").list_topics()["Topics"]
        assert len(groups) + len(topics) == 1  # what was there is still there
    finally:
        logs, sns = (deployer.session.client(service) for service in ("logs", "sns"))
        for found in logs.describe_log_groups()["logGroups"]:
            logs.delete_log_group(logGroupName=found["logGroupName"])
        for found in sns.list_topics()["Topics"]:
            sns.delete_topic(TopicArn=found["TopicArn"])


def test_a_failed_creation_leaves_nothing(deployer, name):
    missing_code = {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "FunctionName": "guarded",
            "Runtime": "python3.11",
            "Handler": "a.handler",
            "Code": {"S3Bucket": "nobody", "S3Key": "nothing.zip"},
            "Role": {"Fn::GetAtt": ["R", "Arn"]},
        },
    }
    with pytest.raises(RuntimeError, match="ROLLBACK_COMPLETE: .*F: .*nothing.zip"):
        deployer.deploy(name, {"Resources": {"R": ROLE, "F": missing_code}})
    roles = deployer.session.client("iam").list_roles()["Roles"]
    assert "guarded" not in {role["RoleName"] for role in roles}
    assert deployer.session.client("lambda").list_functions()["Functions"] == []


def test_a_function_needs_a_role_that_lambda_may_assume(deployer, name):
    role = copy.deepcopy(ROLE)
    trust = role["Properties"]["AssumeRolePolicyDocument"]["Statement"][0]
    trust["Principal"] = {"Service": "glue.amazonaws.com"}
    s3 = deployer.session.client("s3")
    s3.create_bucket(Bucket="guarded-code")
    s3.put_object(Bucket="guarded-code", Key="a.zip", Body=archive("a", "handler = print"))
    function = {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "FunctionName": "guarded",
            "Runtime": "python3.11",
            "Handler": "a.handler",
            "Code": {"S3Bucket": "guarded-code", "S3Key": "a.zip"},
            "Role": {"Fn::GetAtt": ["R", "Arn"]},
        },
    }
    with pytest.raises(RuntimeError, match="F: .*cannot be assumed by Lambda"):
        deployer.deploy(name, {"Resources": {"R": role, "F": function}})


def test_a_failed_update_leaves_the_old_state(deployer, name):
    template = {"Resources": {"G": group("kept", RetentionInDays=7)}}
    deployer.deploy(name, template)
    broken = copy.deepcopy(template)
    broken["Resources"]["G"]["Properties"]["RetentionInDays"] = 30
    broken["Resources"]["H"] = {**group("kept"), "DependsOn": "G"}  # the name is G's
    with pytest.raises(RuntimeError, match="UPDATE_ROLLBACK_COMPLETE: .*H: .*already exists"):
        deployer.deploy(name, broken)
    assert retention(deployer, "kept") == 7
    assert deployer.resources(name).keys() == {"G"}
    body = deployer.client.get_template(StackName=name)["TemplateBody"]
    assert "30" not in str(body)


def test_a_resource_that_fails_in_the_middle_is_as_before(deployer, name):
    bucket = {
        "BucketName": "guarded-bucket",
        "VersioningConfiguration": {"Status": "Enabled"},
        "LifecycleConfiguration": {"Rules": [{"Status": "Enabled", "ExpirationInDays": 3}]},
    }
    template = {"Resources": {"B": {"Type": "AWS::S3::Bucket", "Properties": bucket}}}
    deployer.deploy(name, template)
    broken = copy.deepcopy(template)
    broken["Resources"]["B"]["Properties"].update(
        LifecycleConfiguration={"Rules": [{"Status": "Enabled", "ExpirationInDays": 5}]},
        VersioningConfiguration={"Status": "Perhaps"},  # applied after the lifecycle
    )
    with pytest.raises(RuntimeError, match="UPDATE_ROLLBACK_COMPLETE: .*B: "):
        deployer.deploy(name, broken)
    s3 = deployer.session.client("s3")
    rules = s3.get_bucket_lifecycle_configuration(Bucket="guarded-bucket")["Rules"]
    assert rules[0]["Expiration"] == {"Days": 3}


def test_a_property_that_is_taken_away_is_taken_back(deployer, name):
    bucket = {
        "BucketName": "guarded-bucket",
        "VersioningConfiguration": {"Status": "Enabled"},
        "LifecycleConfiguration": {"Rules": [{"Status": "Enabled", "ExpirationInDays": 3}]},
    }
    template = {"Resources": {"B": {"Type": "AWS::S3::Bucket", "Properties": bucket}}}
    deployer.deploy(name, template)
    del bucket["VersioningConfiguration"], bucket["LifecycleConfiguration"]
    deployer.deploy(name, template, tags={})
    s3 = deployer.session.client("s3")
    assert s3.get_bucket_versioning(Bucket="guarded-bucket")["Status"] == "Suspended"
    with pytest.raises(botocore.exceptions.ClientError, match="NoSuchLifecycleConfiguration"):
        s3.get_bucket_lifecycle_configuration(Bucket="guarded-bucket")
    tags = s3.get_bucket_tagging(Bucket="guarded-bucket")["TagSet"]
    assert {tag["Key"].partition(":")[0] for tag in tags} == {"aws"}


def test_changed_tags_reach_the_resources(deployer, name):
    template = {"Resources": {"T": TOPIC}}
    deployer.deploy(name, template, tags={"Owner": "one"})
    deployer.deploy(name, template, tags={"Owner": "two"})
    arn = deployer.resources(name)["T"]["PhysicalResourceId"]
    tags = deployer.session.client("sns").list_tags_for_resource(ResourceArn=arn)["Tags"]
    assert {"Key": "Owner", "Value": "two"} in tags


def test_a_bucket_with_objects_is_not_deleted(deployer, name):
    template = {
        "Resources": {
            "B": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "guarded-bucket"}}
        }
    }
    deployer.deploy(name, template)
    s3 = deployer.session.client("s3")
    s3.put_object(Bucket="guarded-bucket", Key="kept", Body=b"1")
    with pytest.raises(RuntimeError, match="DELETE_FAILED.*not empty"):
        deployer.delete(name)
    s3.delete_object(Bucket="guarded-bucket", Key="kept")


def test_resources_go_before_what_they_depend_on(deployer, name):
    template = {
        "Resources": {
            "T": TOPIC,
            "P": {
                "Type": "AWS::SNS::TopicPolicy",
                "Properties": {
                    "Topics": [{"Ref": "T"}],
                    "PolicyDocument": {"Version": "2012-10-17", "Statement": []},
                },
            },
        }
    }
    stack_id = deployer.deploy(name, template)["StackId"]
    deployer.delete(name)
    events = deployer.client.describe_stack_events(StackName=stack_id)["StackEvents"]
    deleted = [
        event["LogicalResourceId"]
        for event in reversed(events)
        if event["ResourceStatus"] == "DELETE_COMPLETE"
    ]
    assert deleted == ["P", "T", name]


def test_a_retained_resource_outlives_its_stack(deployer, name):
    template = {"Resources": {"G": {**group("retained"), "DeletionPolicy": "Retain"}}}
    deployer.deploy(name, template)
    deployer.delete(name)
    deployer.session.client("logs").delete_log_group(logGroupName="/guards/retained")


def test_an_exported_value_in_use_keeps_its_stack(deployer, name):
    exporting = {
        "Resources": {"T": TOPIC},
        "Outputs": {"Arn": {"Value": {"Ref": "T"}, "Export": {"Name": "guard-topic"}}},
    }
    deployer.deploy(f"{name}-exporting", exporting)
    importing = {"Resources": {"G": group("a", KmsKeyId={"Fn::ImportValue": "guard-topic"})}}
    deployer.deploy(name, importing)
    with pytest.raises(botocore.exceptions.ClientError, match="guard-topic"):
        deployer.delete(f"{name}-exporting")
    deployer.delete(name)
    deployer.delete(f"{name}-exporting")


def test_a_protected_stack_is_not_deleted(deployer, name):
    deployer.deploy(name, {"Resources": {"T": TOPIC}})
    deployer.client.update_termination_protection(StackName=name, EnableTerminationProtection=True)
    with pytest.raises(botocore.exceptions.ClientError, match="[Tt]ermination"):
        deployer.delete(name)
    assert deployer.resources(name).keys() == {"T"}
