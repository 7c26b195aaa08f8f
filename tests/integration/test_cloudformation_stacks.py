"""The four stacks on local AWS: every property that they set is read back from its service."""

import pytest
from tests.integration.cloudformation_readback import read_back
from tests.integration.cloudformation_stacks import (
    NAMES,
    PARAMETERS,
    PREFIX,
    STACKS,
    Deployer,
    load,
    upload_release,
)

FIRST, SECOND = PARAMETERS["application"]["ReleaseVersion"], "20260102-ba9876543210"
# Another value for every parameter that has one, so that an update has to reach every service.
UPDATED = {
    "artifacts": {"NoncurrentVersionDays": "11"},
    "data": {
        "StagingRetentionDays": "3",
        "RunRetentionDays": "4",
        "ArchiveTransitionDays": "45",
        "FailedRetentionDays": "6",
        "NoncurrentVersionDays": "8",
        "LogRetentionDays": "60",
        "WarehouseBaseCapacity": "16",
        "WarehouseMaxCapacity": "32",
        "WarehouseSubnetIds": "subnet-1,subnet-2,subnet-3",
        "WarehouseSecurityGroupIds": "sg-1",
    },
    "application": {
        "ReleaseVersion": SECOND,
        "LogRetentionDays": "60",
        "NotificationEmail": "runs@example.com",
        "GlueWorkerType": "G.2X",
        "GlueNumberOfWorkers": "5",
        "GlueTimeoutMinutes": "77",
        "GlueMaxRetries": "1",
        "GlueMaxConcurrentRuns": "9",
        "GlueExecutionClass": "FLEX",
    },
    "monitoring": {"AlarmEmail": "alarms@example.com", "RejectedPercentThreshold": "42"},
}


@pytest.fixture(scope="module", name="deployer")
def fixture_deployer(local_aws) -> Deployer:
    return Deployer(local_aws.session("dev"))


@pytest.fixture(scope="module", name="deployed")
def fixture_deployed(deployer) -> dict[str, dict]:
    """The four stacks, described, as first deployed."""
    stacks = {}
    for stack in STACKS:
        parameters = NAMES | PARAMETERS[stack]
        stacks[stack] = deployer.deploy(f"{PREFIX}-{stack}", load(stack), parameters)
        if stack == "artifacts":
            upload_release(deployer.session, FIRST)
    return stacks


@pytest.mark.parametrize("stack", STACKS)
def test_each_property_is_read_back(deployer, deployed, stack):
    assert read_back(deployer, deployed[stack], load(stack)) == []


@pytest.mark.parametrize("stack", STACKS)
def test_a_repeated_deploy_changes_nothing(deployer, deployed, stack):
    assert deployed[stack]["StackStatus"] == "CREATE_COMPLETE"
    parameters = NAMES | PARAMETERS[stack]
    change_set = deployer.prepare(f"{PREFIX}-{stack}", load(stack), parameters)
    assert change_set["Status"] == "FAILED"
    assert "didn't contain changes" in change_set["StatusReason"]


@pytest.mark.parametrize("stack", STACKS)
def test_an_update_reaches_every_property(deployer, deployed, stack):
    untouched = {"ProjectName", "EnvironmentName", "DatabaseName"}
    assert UPDATED[stack].keys() == load(stack)["Parameters"].keys() - untouched
    assert deployed[stack]
    upload_release(deployer.session, SECOND)
    lambda_ = deployer.session.client("lambda")
    if stack == "application":
        # The switch of a deploy: from here on CloudFormation must leave the alias alone.
        trigger = f"{PREFIX}-trigger-etl"
        version = lambda_.publish_version(FunctionName=trigger)["Version"]
        lambda_.update_alias(FunctionName=trigger, Name="live", FunctionVersion=version)

    template = load(stack)
    updated = deployer.deploy(f"{PREFIX}-{stack}", template, NAMES | UPDATED[stack])

    assert updated["StackStatus"] == "UPDATE_COMPLETE"
    faults = read_back(deployer, updated, template)
    if stack == "application":
        assert faults == [f"TriggerLiveAlias.FunctionVersion: wanted '$LATEST', found '{version}'"]
        old = lambda_.get_layer_version(LayerName=f"{PREFIX}-common", VersionNumber=1)
        assert old["Version"] == 1  # retained: published function versions still use it
    else:
        assert faults == []
