"""An update of the stacks reaches the services, whichever property it changes."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from tests.integration.cloudformation_readback import differences, read_back
from tests.integration.cloudformation_stacks import (
    NAMES,
    PARAMETERS,
    PREFIX,
    STACKS,
    Deployer,
    load,
    upload_release,
)

OTHER_KEY = "arn:aws:kms:us-east-1:333333333333:key/00000000-0000-0000-0000-000000000000"
OTHER_ROLE = "arn:aws:iam::333333333333:role/other"
OTHER_RELEASE = "20260103-cccccccccccc"


def with_other_sid(document: dict) -> dict:
    """Change a policy without changing what it allows."""
    document["Statement"][0]["Sid"] = "Changed"
    return document


def with_wider_trust(document: dict) -> dict:
    """Let the services assume each other's roles, so that these can be exchanged."""
    services = [f"{name}.amazonaws.com" for name in ("glue", "lambda", "states")]
    statement = document["Statement"][0]
    document["Statement"].append({**statement, "Principal": {"Service": services}})
    return document


def with_other_policy(policies: list) -> list:
    policies[0]["PolicyName"] += "-changed"
    policies[0]["PolicyDocument"]["Statement"].pop()
    return policies


def from_other_release(place: dict) -> dict:
    place["S3Key"] = {
        "Fn::Sub": place["S3Key"]["Fn::Sub"].replace("${ReleaseVersion}", OTHER_RELEASE)
    }
    return place


def with_other_description(database: dict) -> dict:
    return {**database, "Description": "changed"}


def with_other_retries(targets: list) -> list:
    targets[0]["RetryPolicy"] = {"MaximumEventAgeInSeconds": 90, "MaximumRetryAttempts": 3}
    return targets


# Another value for each property that an update can change, or a function that makes one.
CHANGES: dict[str, dict[str, Any | Callable[[Any], Any]]] = {
    "AWS::CloudWatch::Alarm": {
        "AlarmActions": [],
        "AlarmDescription": "changed",
        "ComparisonOperator": "LessThanThreshold",
        "Dimensions": [{"Name": "Other", "Value": "changed"}],
        "EvaluationPeriods": 2,
        "MetricName": "Other",
        "Namespace": "Other",
        "ActionsEnabled": False,
        "OKActions": [],
        "Period": 120,
        "Statistic": "Average",
        "Threshold": 7,
        "TreatMissingData": "breaching",
    },
    "AWS::Events::Rule": {
        "Description": "changed",
        "EventPattern": {"source": ["changed"]},
        "State": "DISABLED",
        "Targets": with_other_retries,
    },
    "AWS::Glue::Database": {"DatabaseInput": with_other_description},
    "AWS::Glue::Job": {
        "Command": {
            "Name": "glueetl",
            "PythonVersion": "3",
            "ScriptLocation": "s3://other/script.py",
        },
        "DefaultArguments": {"--changed": "yes"},
        "Description": "changed",
        "ExecutionClass": "FLEX",
        "ExecutionProperty": {"MaxConcurrentRuns": 6},
        "GlueVersion": "5.0",
        "MaxRetries": 2,
        "NumberOfWorkers": 7,
        "Role": {"Fn::GetAtt": "CheckRole.Arn"},
        "Timeout": 9,
        "WorkerType": "G.4X",
    },
    "AWS::IAM::Role": {
        "AssumeRolePolicyDocument": with_wider_trust,
        "Description": "changed",
        "Policies": with_other_policy,
        "Tags": [{"Key": "Changed", "Value": "yes"}],
    },
    "AWS::KMS::Key": {
        "Description": "changed",
        "EnableKeyRotation": False,
        "KeyPolicy": with_other_sid,
    },
    "AWS::Lambda::Alias": {"Description": "changed"},
    "AWS::Lambda::EventInvokeConfig": {
        "DestinationConfig": {"OnFailure": {"Destination": {"Ref": "NotificationsTopic"}}},
        "MaximumEventAgeInSeconds": 120,
        "MaximumRetryAttempts": 1,
    },
    "AWS::Lambda::Function": {
        "Architectures": ["x86_64"],
        "Code": from_other_release,
        "Description": "changed",
        "Environment": {"Variables": {"CHANGED": "yes"}},
        "Handler": "changed.handler",
        "Layers": [],
        "LoggingConfig": {"LogGroup": "/changed", "LogFormat": "JSON"},
        "MemorySize": 1024,
        "Role": {"Fn::GetAtt": "CheckRole.Arn"},
        "Timeout": 99,
    },
    "AWS::Lambda::LayerVersion": {
        "CompatibleArchitectures": ["x86_64"],
        "CompatibleRuntimes": ["python3.11", "python3.12"],
        "Content": from_other_release,
        "Description": "changed",
    },
    "AWS::Logs::LogGroup": {"KmsKeyId": OTHER_KEY, "RetentionInDays": 90},
    "AWS::RedshiftServerless::Namespace": {
        "AdminPasswordSecretKmsKeyId": OTHER_KEY,
        "DefaultIamRoleArn": OTHER_ROLE,
        "IamRoles": [OTHER_ROLE],
        "KmsKeyId": OTHER_KEY,
        "LogExports": ["userlog"],
    },
    "AWS::RedshiftServerless::Workgroup": {
        "BaseCapacity": 24,
        "ConfigParameters": [
            {"ParameterKey": "max_query_execution_time", "ParameterValue": "60"},
        ],
        "EnhancedVpcRouting": True,
        "MaxCapacity": 48,
        "PubliclyAccessible": True,
        "SecurityGroupIds": ["sg-9"],
        "SubnetIds": ["subnet-9"],
    },
    "AWS::S3::Bucket": {
        "BucketEncryption": {
            "ServerSideEncryptionConfiguration": [
                {
                    "BucketKeyEnabled": False,
                    "ServerSideEncryptionByDefault": {
                        "SSEAlgorithm": "aws:kms",
                        "KMSMasterKeyID": OTHER_KEY,
                    },
                }
            ]
        },
        "LifecycleConfiguration": {
            "Rules": [
                {"Id": "changed", "Status": "Disabled", "Prefix": "x/", "ExpirationInDays": 2}
            ]
        },
        "NotificationConfiguration": {"EventBridgeConfiguration": {"EventBridgeEnabled": False}},
        "OwnershipControls": {"Rules": [{"ObjectOwnership": "ObjectWriter"}]},
        "PublicAccessBlockConfiguration": {
            "BlockPublicAcls": False,
            "BlockPublicPolicy": False,
            "IgnorePublicAcls": False,
            "RestrictPublicBuckets": False,
        },
        "VersioningConfiguration": {"Status": "Suspended"},
    },
    "AWS::S3::BucketPolicy": {"PolicyDocument": with_other_sid},
    "AWS::SNS::Topic": {"DisplayName": "changed", "KmsMasterKeyId": "alias/aws/sns"},
    "AWS::SNS::TopicPolicy": {"PolicyDocument": with_other_sid},
    "AWS::SQS::Queue": {"MessageRetentionPeriod": 90, "SqsManagedSseEnabled": False},
    "AWS::SQS::QueuePolicy": {"PolicyDocument": with_other_sid},
    "AWS::StepFunctions::StateMachine": {
        "Definition": {"StartAt": "End", "States": {"End": {"Type": "Succeed"}}},
        "LoggingConfiguration": {"Level": "OFF", "IncludeExecutionData": False},
        "RoleArn": {"Fn::GetAtt": "GlueRole.Arn"},
        "TracingConfiguration": {"Enabled": False},
    },
}

# What only a new resource can change, and what names another resource of the stack.
FIXED: dict[str, set[str]] = {
    "AWS::CloudWatch::Alarm": {"AlarmName"},
    "AWS::Events::Rule": {"Name"},
    "AWS::Glue::Database": {"CatalogId"},
    "AWS::Glue::Job": {"Name"},
    "AWS::IAM::Role": {"RoleName"},
    "AWS::KMS::Alias": {"AliasName", "TargetKeyId"},
    "AWS::Lambda::Alias": {"FunctionName", "FunctionVersion", "Name"},
    "AWS::Lambda::EventInvokeConfig": {"FunctionName", "Qualifier"},
    "AWS::Lambda::Function": {"FunctionName", "Runtime"},
    "AWS::Lambda::LayerVersion": {"LayerName"},
    "AWS::Lambda::Permission": {"Action", "FunctionName", "Principal", "SourceArn"},
    "AWS::Logs::LogGroup": {"LogGroupName"},
    "AWS::RedshiftServerless::Namespace": {
        "AdminUsername",
        "DbName",
        "ManageAdminPassword",
        "NamespaceName",
    },
    "AWS::RedshiftServerless::Workgroup": {"NamespaceName", "WorkgroupName"},
    "AWS::S3::Bucket": {"BucketName"},
    "AWS::S3::BucketPolicy": {"Bucket"},
    "AWS::SNS::Subscription": {"Endpoint", "Protocol", "TopicArn"},
    "AWS::SNS::Topic": {"TopicName"},
    "AWS::SNS::TopicPolicy": {"Topics"},
    "AWS::SQS::Queue": {"QueueName"},
    "AWS::SQS::QueuePolicy": {"Queues"},
    "AWS::StepFunctions::StateMachine": {"StateMachineName", "StateMachineType"},
}


def changed(template: dict) -> dict:
    """Return the template with another value for every property that can change."""
    template = copy.deepcopy(template)
    for logical_id, resource in template["Resources"].items():
        changes, fixed = CHANGES.get(resource["Type"], {}), FIXED.get(resource["Type"], ())
        for name, value in resource["Properties"].items():
            if name in fixed:
                continue
            assert name in changes, f"{logical_id}: the test has no other value for {name}"
            change = changes[name]
            resource["Properties"][name] = change(value) if callable(change) else change
    return template


@pytest.fixture(scope="module", name="deployer")
def fixture_deployer(local_aws) -> Deployer:
    """The four stacks, deployed to an account of this module's own."""
    deployer = Deployer(local_aws.session("staging"))
    for stack in STACKS:
        deployer.deploy(f"{PREFIX}-{stack}", load(stack), NAMES | PARAMETERS[stack])
        if stack == "artifacts":
            upload_release(deployer.session, PARAMETERS["application"]["ReleaseVersion"])
            upload_release(deployer.session, OTHER_RELEASE)
    return deployer


@pytest.mark.parametrize("stack", STACKS)
def test_each_changed_property_is_read_back(deployer, stack):
    template = changed(load(stack))
    ids_before = {
        name: resource["PhysicalResourceId"]
        for name, resource in deployer.resources(f"{PREFIX}-{stack}").items()
    }
    described = deployer.deploy(f"{PREFIX}-{stack}", template, NAMES | PARAMETERS[stack])

    assert read_back(deployer, described, template) == []
    ids_after = {
        name: resource["PhysicalResourceId"]
        for name, resource in deployer.resources(f"{PREFIX}-{stack}").items()
    }
    replaced = {name for name, id_ in ids_after.items() if ids_before[name] != id_}
    assert replaced == ({"CommonLayer"} if stack == "application" else set())


def test_the_original_values_are_restored_when_an_update_fails(deployer):
    stack = "monitoring"
    original = load(stack)
    described = deployer.deploy(f"{PREFIX}-{stack}", original, NAMES | PARAMETERS[stack])
    broken = changed(original)
    broken["Resources"]["Last"] = {
        "Type": "AWS::SNS::Topic",
        "DependsOn": list(original["Resources"]),
        "Properties": {"TopicName": f"{PREFIX}-notifications"},  # the application's
    }
    del broken["Resources"]["AlarmsSubscription"]  # its condition does not hold, so no dependency
    broken["Resources"]["Last"]["DependsOn"].remove("AlarmsSubscription")
    with pytest.raises(RuntimeError, match="UPDATE_ROLLBACK_COMPLETE: .*already exists"):
        deployer.deploy(f"{PREFIX}-{stack}", broken, NAMES | PARAMETERS[stack])
    assert read_back(deployer, described, original) == []


def test_a_property_without_a_reader_is_a_fault():
    assert differences({"Tenancy": "x"}, {}) == ["Tenancy: not read back"]
    assert differences({"A": [{"B": 1}]}, {"A": [{"B": 2}]}) == ["A[0].B: wanted 1, found 2"]
