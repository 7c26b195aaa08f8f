"""A deploy of what is live brings back what somebody has changed by hand."""

import urllib.request

from ops.release.pins import pins

from tests.drills.releases import build_releases, must
from tests.e2e.project import PREFIX

CHECK, LOAD = f"{PREFIX}-check-quality", f"{PREFIX}-load-warehouse"
SETTINGS = ("CodeSha256", "Environment", "Handler", "Layers", "MemorySize", "Role", "Timeout")


def settings(project, function) -> dict:
    """Return how a function, or a version of it, runs."""
    found = project.client("lambda").get_function_configuration(FunctionName=function)
    # A function whose variables were all removed has an empty environment, another one none.
    environment = found.get("Environment", {}).get("Variables", {})
    return {name: found.get(name) for name in SETTINGS} | {"Environment": environment}


def live_version(project) -> str:
    """Return the version of check_quality that is live."""
    described = project.client("stepfunctions").describe_state_machine(
        stateMachineArn=project.live_version()
    )
    return pins(described["definition"]).functions[CHECK]


def test_a_deploy_of_what_is_live_but_was_changed_by_hand_goes_all_the_way(project):
    # GIVEN a function whose settings and code somebody has changed in the console
    must(project.make("deploy", "ENV=dev"))
    released, functions = settings(project, live_version(project)), project.client("lambda")
    assert settings(project, CHECK) == released
    memory = released["MemorySize"]
    functions.update_function_configuration(
        FunctionName=CHECK,
        MemorySize=memory * 2,
        Timeout=1,
        Role=released["Role"].replace(CHECK, LOAD),
        Environment={"Variables": {"DEBUG": "1"}},
        Layers=[],
    )
    with urllib.request.urlopen(functions.get_function(FunctionName=LOAD)["Code"]["Location"]) as z:
        functions.update_function_code(FunctionName=CHECK, ZipFile=z.read())
    changed = settings(project, CHECK)
    assert all(changed[name] != released[name] for name in SETTINGS if name != "Handler")

    # WHEN the release that is live is deployed
    done = must(project.make("deploy", "ENV=dev"))

    # THEN it says what was changed, and does not say that there is nothing to do
    assert f"found {memory * 2}" in " ".join(done.stderr.split())
    assert "nothing to do" not in done.stderr
    said = " ".join(done.stderr.partition("==> publish\n")[2].split())
    mended = f"changed by hand, and changed back: function {CHECK} MemorySize expected {memory}"
    assert f"{mended} found {memory * 2}" in said

    # AND what goes live is the release's own, and so is what is published next
    assert settings(project, live_version(project)) == released
    assert settings(project, CHECK) == released
    assert CHECK not in project.make("drift", "ENV=dev").stdout


def test_what_is_of_another_release_is_not_taken_for_changed_by_hand(project, broken_copy):
    # GIVEN a release that was uploaded, but whose stacks are not there
    must(project.make("deploy", "ENV=dev"))
    released = settings(project, CHECK)
    build_releases(broken_copy, ["apart-1"])
    must(broken_copy.make("upload", "ENV=dev", "VERSION=apart-1"))

    # WHEN it is to be published
    done = broken_copy.make("app", "ENV=dev", "VERSION=apart-1")

    # THEN that is refused, with what to do first, and the functions are as they were
    assert done.returncode != 0 and "FAILED in phase publish " in done.stderr, done.stderr
    assert f"{PREFIX}-application is of release " in done.stderr
    assert "make infra ENV=dev VERSION=apart-1" in done.stderr
    assert settings(project, CHECK) == released
