"""A release with one broken piece is stopped by the first phase that can know it, which says why;
what was live stays so.
"""

from dataclasses import dataclass

import pytest

from tests.e2e.one_row import a_file

BEFORE, BUILD, STACKS, SMOKE = (
    "",  # make itself reads the configuration of every environment, and begins nothing
    "verify_release",  # builds the release, which checks all that needs no account
    "application_stack",
    "smoke_test",
)


@dataclass(frozen=True)
class Break:
    """Changes (file, old text, new text) that must stop a release, the phase that must stop it and
    the words that must say why."""

    piece: str
    phase: str
    changes: tuple[tuple[str, str, str], ...]
    says: tuple[str, ...]


BREAKS = (
    Break(
        "the configuration of its environment misses a key",
        BEFORE,
        (("config/common/settings.yaml", "  lock_lease_seconds: 1800", "  # lock_lease_seconds"),),
        ("lock_lease_seconds",),
    ),
    Break(
        "the configuration of an environment after it misses a key",
        BEFORE,
        (("config/staging/settings.yaml", '  account_id: "333333333333"', "  region: us-east-1"),),
        ("account_id", "staging"),
    ),
    Break(
        "a state goes on to one that is not there",
        BUILD,
        (
            (
                "step-functions/etl_pipeline.asl.json",
                '"Next": "StartGlueJob"',
                '"Next": "StartGlueJobs"',
            ),
        ),
        ("etl_pipeline.asl.json", "StartGlueJobs"),
    ),
    Break(
        "a template with a value that AWS does not know",
        BUILD,
        (("cloudformation/application.yaml", "Runtime: python3.11", "Runtime: python2.0"),),
        ("application.yaml", "python2.0"),
    ),
    Break(
        "a template that fails halfway, after other resources were changed",
        STACKS,
        (
            ("cloudformation/application.yaml", "MemorySize: 512", "MemorySize: 640"),
            (
                "cloudformation/application.yaml",
                "releases/${ReleaseVersion}/lambdas/load_warehouse.zip",
                "releases/${ReleaseVersion}/lambdas/load_warehouses.zip",
            ),
        ),
        ("UPDATE_ROLLBACK_COMPLETE", "LoadFunction (AWS::Lambda::Function)"),
    ),
    Break(
        "the Glue job throws",
        SMOKE,
        (
            (
                "glue-jobs/src/etl_main.py",
                "    storage = Storage(spark)\n",
                '    raise ValueError("the shelves are empty")\n',
            ),
        ),
        ("the run failed in StartGlueJob: ", "ValueError", "the shelves are empty"),
    ),
    Break(
        "the Glue job loses rows",
        SMOKE,
        (
            (
                "glue-jobs/src/etl_main.py",
                "ranked.where(~is_superseded)",
                "ranked.where(~is_superseded).limit(50)",
            ),
        ),
        ("RowAccountMismatch",),
    ),
    Break(
        "a function takes longer than it may",
        SMOKE,
        (
            ("cloudformation/application.yaml", "Timeout: 300", "Timeout: 2"),
            (
                "lambdas/validate_input/src/validate_input.py",
                '    sources, target = event["sources"], event["target"]\n',
                '    __import__("time").sleep(60)\n'
                '    sources, target = event["sources"], event["target"]\n',
            ),
        ),
        (
            "the run failed in ValidateInput (retail-pipeline-dev-validate-input:",
            "Sandbox.Timedout",
            "timed out after 2",
        ),
    ),
    Break(
        "the MERGE mixes up two columns",
        SMOKE,
        (
            (
                "lambdas/load_warehouse/src/load_sql.py",
                '", ".join(f"{INCOMING}.{column}" for column in columns)',
                '", ".join(f"{INCOMING}.{column}" for column in columns)'
                '.replace("brand", "department")',
            ),
        ),
        ("rows in the warehouse", "expected 100 rows"),
    ),
    Break(
        "the trigger raises",
        SMOKE,
        (
            (
                "lambdas/trigger_etl/src/trigger_etl.py",
                'bucket = event["detail"]["bucket"]["name"]',
                'bucket = event["detail"]["no_such_field"]["name"]',
            ),
        ),
        ("trigger", "no_such_field"),
    ),
)


@pytest.mark.parametrize("number", range(len(BREAKS)), ids=lambda number: BREAKS[number].piece)
def test_a_broken_release_is_not_made_live(project, broken_copy, tmp_path, number):
    # GIVEN a live release, and a copy of the project with one piece broken
    broken, live = BREAKS[number], project.aliases()
    for file, old, new in broken.changes:
        path = broken_copy.folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{file} has changed: break it in another way"
        path.write_text(text.replace(old, new), encoding="utf-8")

    # WHEN it is deployed
    done = broken_copy.make("deploy", "ENV=dev")

    # THEN the phase that can know it first stops it and says why
    assert done.returncode != 0 and done.stdout == ""
    if broken.phase == BEFORE:
        assert "==> " not in done.stderr, done.stderr
    else:
        assert f"FAILED in phase {broken.phase} " in done.stderr, done.stderr
    for word in broken.says:
        assert word in done.stderr, done.stderr

    # AND what was live is live, and loads what arrives
    assert project.aliases() == live
    fed = project.feed(a_file(tmp_path, 20190501 + number))
    assert fed.returncode == 0, fed.stderr
    rows = project.query(f"select product_id from products where product_id = {20190501 + number}")
    assert rows == [str(20190501 + number)]
