"""Compares every property that a template sets with what its service says of it."""

from localaws.cloudformation_readers import read
from tests.integration.cloudformation_stacks import TAGS, Deployer, Resolver


def read_back(deployer: Deployer, stack: dict, template: dict) -> list[str]:
    """Return every property of a stack that its service does not confirm."""
    resolver = Resolver(deployer, stack, template)
    faults = []
    for logical_id, resource in template["Resources"].items():
        if not resolver.exists(logical_id):
            assert logical_id not in resolver.resources
            continue
        wanted = resolver.properties(logical_id)
        name = resolver.resources[logical_id]["PhysicalResourceId"]
        found = read(deployer.session, resource["Type"], name, wanted)
        if "Tags" in found:
            own = {tag["Key"] for tag in wanted.get("Tags", [])}
            wanted["Tags"] = wanted.get("Tags", []) + [
                {"Key": key, "Value": value} for key, value in TAGS.items() if key not in own
            ]
        faults += [f"{logical_id}.{fault}" for fault in differences(wanted, found)]
    return faults


def differences(wanted: object, found: object, path: str = "") -> list[str]:
    """Return where ``found`` lacks what is ``wanted``; what it has besides does not matter."""
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            return [f"{path}: wanted {wanted}, found {found!r}"]
        return [
            difference
            for key, value in wanted.items()
            for difference in (
                differences(value, found[key], f"{path}.{key}".lstrip("."))
                if key in found
                else [f"{path}.{key}".lstrip(".") + ": not read back"]
            )
        ]
    if path == "Tags":
        missing = [tag for tag in wanted if tag not in found]
        return [f"Tags: {missing} not in {found}"] if missing else []
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(wanted) != len(found):
            return [f"{path}: wanted {wanted}, found {found!r}"]
        return [
            difference
            for index, pair in enumerate(zip(wanted, found))
            for difference in differences(*pair, f"{path}[{index}]")
        ]
    return (
        [] if _plain(wanted) == _plain(found) else [f"{path}: wanted {wanted!r}, found {found!r}"]
    )


def _plain(value: object) -> str:
    """Return a scalar as text: parameters make text of numbers and booleans, APIs do not."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
