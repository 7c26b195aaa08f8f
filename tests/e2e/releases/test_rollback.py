"""Going back: live is the earlier release again, it loads what arrives, and the record says who."""

from tests.e2e.one_row import a_file


def newest_run(project):
    """Return the description of the execution that was started last."""
    newest = project.executions()[0]["executionArn"]
    return project.client("stepfunctions").describe_execution(executionArn=newest)


def test_back_by_alias_and_forward_again(project, broken_copy, tmp_path):
    # GIVEN a release that was live, and another one, with another configuration, that is
    before = project.live_version()
    settings = broken_copy.folder / "config/common/settings.yaml"
    settings.write_text(
        settings.read_text(encoding="utf-8").replace(
            "smoke_timeout_seconds: 300", "smoke_timeout_seconds: 301"
        ),
        encoding="utf-8",
    )
    deployed = broken_copy.make("deploy", "ENV=dev")
    assert deployed.returncode == 0, deployed.stderr
    after = project.live_version()
    assert after == deployed.stdout.strip() != before

    # WHEN it is rolled back
    done = project.make("rollback", "ENV=dev")

    # THEN the earlier release is live, whole, and what arrives is loaded by it
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == before == project.live_version()
    assert "smoke: passed" in done.stderr
    assert project.feed(a_file(tmp_path, 20190101)).returncode == 0
    assert newest_run(project)["stateMachineVersionArn"] == before
    assert project.query("select quantity from products where product_id = 20190101") == ["2"]

    # AND the record says what was done
    record = project.last_record()
    assert (record["action"], record["result"]) == ("rollback", "succeeded")
    assert record["who"] == "arn:aws:iam::111111111111:user/admin"
    assert record["live"]["state_machine_version_arn"] == before

    # AND the release that was left can be gone to by its name
    left = record["from"]
    assert left in project.make("releases", "ENV=dev").stdout
    forward = project.make("rollback", "ENV=dev", f"TO={left}")
    assert forward.returncode == 0, forward.stderr
    assert project.live_version() == after
    assert project.feed(a_file(tmp_path, 20190102)).returncode == 0
    assert newest_run(project)["stateMachineVersionArn"] == after

    # AND a release that nobody knows is refused, with those that there are
    refused = project.make("rollback", "ENV=dev", "TO=nobody-knows-it")
    assert refused.returncode == 2
    assert f"kept are: {left}, {record['to']}" in refused.stderr
    assert project.live_version() == after
