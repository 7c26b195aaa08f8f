"""ops.release.change_sets: a stack's change set as lines for a person."""

import json

import pytest
from ops.environment import OperationError
from ops.release.change_sets import StackPlan, lines

NO_CHANGES = "The submitted information didn't contain changes. Submit different information."


def plan(*changes, status="UPDATE_COMPLETE", type_="UPDATE", failed=""):
    change_set = {
        "Status": "FAILED" if failed else "CREATE_COMPLETE",
        "StatusReason": failed,
        "Changes": [{"Type": "Resource", "ResourceChange": change} for change in changes],
    }
    return StackPlan("data", status, type_, change_set)


def shown(stack):
    return [" ".join(line.split()) for line in lines(stack)]


def modify(before=None, after=None, names=(), **more):
    change = {
        "Action": "Modify",
        "LogicalResourceId": "Bucket",
        "ResourceType": "AWS::S3::Bucket",
        "Details": [{"Target": {"Attribute": "Properties", "Name": name}} for name in names],
    }
    for context, properties in (("BeforeContext", before), ("AfterContext", after)):
        if properties is not None:
            change[context] = json.dumps({"Properties": properties})
    return change | more


def test_properties_are_shown_where_the_change_set_has_their_values():
    change = modify({"A": {"B": 1}}, {"A": {"B": 2}}, names=["A", "Role"])
    assert shown(plan(change)) == [
        "data 1 resources",
        "~ Bucket AWS::S3::Bucket",
        "A.B 1 -> 2",
        "Role changes with what it refers to",
    ]


def test_properties_are_named_where_it_has_none():
    assert shown(plan(modify(names=["A"])))[-1] == "A changes with what it refers to"


def test_what_is_replaced_or_removed_stands_out():
    removed = modify(Action="Remove")
    assert shown(plan(modify(names=["A"], Replacement="True"), removed))[1:] == [
        "~ Bucket AWS::S3::Bucket REPLACED",
        "A changes with what it refers to",
        "- Bucket AWS::S3::Bucket",
    ]


def test_a_stack_without_changes_is_one_line():
    stack = plan(failed=NO_CHANGES)
    stack.check()
    assert stack.is_unchanged
    assert shown(stack) == ["data no changes"]


def test_a_new_stack_is_counted_by_type():
    stack = plan(modify(Action="Add"), modify(Action="Add"), status="", type_="CREATE")
    assert shown(stack) == ["data new, 2 resources", "+ 2 AWS::S3::Bucket"]


def test_a_new_stack_whose_imports_are_not_there_yet_is_new():
    stack = plan(failed="No export named x found.", status="", type_="CREATE")
    stack.check()
    assert not stack.is_unchanged
    assert shown(stack) == [
        "data new",
        "known once the stacks before it are there: No export named x found.",
    ]


def test_a_stack_whose_creation_failed_says_what_a_deploy_does_first():
    stack = StackPlan("data", "ROLLBACK_COMPLETE", "CREATE", None)
    assert shown(stack) == [
        "data new",
        "it is ROLLBACK_COMPLETE: what its failed creation left is deleted first",
    ]


def test_a_change_set_that_cannot_be_made_is_an_error():
    with pytest.raises(OperationError, match="data: the change set cannot be made: no such type"):
        plan(failed="no such type").check()
