"""The accounts: an administrator in each, kept apart, and no root keys."""

import stat

import pytest

from tests.conftest import ACCOUNTS


@pytest.mark.parametrize("profile", ACCOUNTS)
def test_a_profile_is_the_administrator_of_its_account(local_aws, profile):
    identity = local_aws.session(profile).client("sts").get_caller_identity()
    assert identity["Account"] == ACCOUNTS[profile]
    assert identity["Arn"] == f"arn:aws:iam::{ACCOUNTS[profile]}:user/admin"


def test_accounts_do_not_see_each_others_resources(local_aws):
    local_aws.session("qa").client("sns").create_topic(Name="only-in-qa")
    topics = local_aws.session("dev").client("sns").list_topics()["Topics"]
    assert not [topic for topic in topics if "only-in-qa" in topic["TopicArn"]]


def test_credentials_are_readable_by_their_owner_only(local_aws):
    mode = (local_aws.home / "aws/credentials").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
