"""What the code needs of a role and what the template gives it are the same actions."""

from ops.checks.iam_check import TEMPLATES, load_template
from ops.environment import Environment
from ops.release.permissions import roles

KEY, WORKGROUP = "arn:aws:kms:us-east-1:1:key/k", "arn:aws:redshift-serverless:us-east-1:1:w/w"
NAME = "${ProjectName}-${EnvironmentName}-"


def given():
    """Return of each role in the templates the actions that it allows, by the role's name."""
    found = {}
    for path in sorted(TEMPLATES.glob("*.yaml")):
        for resource in load_template(path)["Resources"].values():
            if resource["Type"] != "AWS::IAM::Role":
                continue
            properties = resource["Properties"]
            actions = [
                statement["Action"]
                for policy in properties["Policies"]
                for statement in policy["PolicyDocument"]["Statement"]
            ]
            found[properties["RoleName"]["Fn::Sub"].removeprefix(NAME)] = {
                name for each in actions for name in ([each] if isinstance(each, str) else each)
            }
    return found


def test_every_role_is_asked_for_exactly_what_its_template_allows():
    environment = Environment.load("dev")
    needed = {
        role.name.removeprefix(f"{environment.prefix}-"): {
            action for need in role.needs for action in need.actions
        }
        for role in roles(environment, KEY, WORKGROUP)
    }
    assert needed == given()
