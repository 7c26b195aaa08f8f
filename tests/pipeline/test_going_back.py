"""When a failed build goes back: whenever live is not what it was, alone.

The decision is the Jenkinsfile's; what is live is said here, by recipes of the test's own.
"""

import dataclasses
import re
from pathlib import Path

import pytest

from tests.checkout import commit_all, copy_checkout

# The recipes of the targets that a build calls here; what is live changes with the upload, which
# fails.
RECIPES = {
    "live": "@cat live",
    "upload": "@printf '{after}' >live; exit 1",
    "rollback": "@echo $(TO)",
    "notify": '@echo "$$MESSAGE"',
}


def give_recipes(makefile: Path, after: str) -> None:
    """Give targets of the Makefile other recipes, and no prerequisites."""
    text = makefile.read_text(encoding="utf-8")
    for target, recipe in RECIPES.items():
        target_of_ours = re.compile(rf"^{target}: .*?(##.*)\n(?:\t.*\n)+", re.M)
        assert len(target_of_ours.findall(text)) == 1, target
        given = recipe.replace("{after}", after).replace("\\", r"\\")
        text = target_of_ours.sub(rf"{target}: \1\n\t{given}\n", text)
    makefile.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("before", "after", "goes_back", "says"),
    [
        ("v1", "v1", False, "live is v1, as before"),
        ("v1", "v2", True, "live is v1 again"),
        ("v1", "v1\\nv2", True, "live is v1 again"),
        ("v1\\nv0", "v1\\nv0", True, "live is v1 again"),
        ("", "v2", False, "it is live, the first release there: there is none to go back to"),
    ],
    ids=["as it was", "switched", "shared", "shared before and after", "the first"],
)
def test_a_failed_build(jenkins, tmp_path, before, after, goes_back, says):
    # pylint: disable=too-many-arguments,too-many-positional-arguments
    # GIVEN what is live when a build begins, and what a step that fails has made of it
    checkout = copy_checkout(tmp_path / "checkout", jenkins.checkout)
    give_recipes(checkout / "Makefile", after)
    (checkout / "live").write_text(before.replace("\\n", "\n"), encoding="utf-8")
    commit_all(checkout, "Recipes that say what is live")

    # WHEN it fails
    ours = dataclasses.replace(jenkins, checkout=checkout, folder=tmp_path / "jenkins")
    build = ours.build(TARGET="local", VERSION="v2", DEPLOY_TO="dev")

    # THEN it goes back to what was live, or need not, and tells which
    assert build.result == "FAILURE", build.log
    assert build.failed == ["make upload ENV=dev VERSION=v2"], build.log
    back = ["make rollback ENV=dev TO=v1"] if goes_back else []
    live = "make --silent live ENV=dev"
    assert build.commands == [live, *build.failed, live, *back, "make notify ENV=dev"]
    assert f"Release v2 failed in Upload Artifacts: {says}" in build.log
