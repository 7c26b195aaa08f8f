"""A release with one broken piece turns red before it is live; what was live stays so."""

from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Break:
    """One change to one file that must stop a release, and the words that must say why."""

    piece: str
    file: str
    old: str
    new: str
    says: tuple[str, ...]


BREAKS = (
    Break(
        "the Glue job loses rows",
        "glue-jobs/src/etl_main.py",
        'ranked.where(~F.col("_superseded"))',
        'ranked.where(~F.col("_superseded")).limit(50)',
        ("RowAccountMismatch",),
    ),
    Break(
        "the MERGE mixes up two columns",
        "lambdas/load_warehouse/src/load_sql.py",
        '", ".join(f"{STAGE}.{column}" for column in columns)',
        '", ".join(f"{STAGE}.{column}" for column in columns).replace("brand", "department")',
        ("rows in the warehouse", "expected 100 rows"),
    ),
    Break(
        "the trigger raises",
        "lambdas/trigger_etl/src/trigger_etl.py",
        'bucket = event["detail"]["bucket"]["name"]',
        'bucket = event["detail"]["no_such_field"]["name"]',
        ("trigger", "no_such_field"),
    ),
    Break(
        "a template that no deploy can carry out",
        "cloudformation/application.yaml",
        "Runtime: python3.11",
        "Runtime: python2.0",
        ("application",),
    ),
)


@pytest.mark.parametrize("broken", BREAKS, ids=lambda item: item.piece)
def test_a_broken_release_is_not_made_live(project, broken_copy, broken):
    # GIVEN a live release, and a copy of the project with one piece broken
    live = project.live_version()
    path = broken_copy.folder / broken.file
    text = path.read_text(encoding="utf-8")
    assert broken.old in text, f"{broken.file} has changed: break it in another way"
    path.write_text(text.replace(broken.old, broken.new), encoding="utf-8")

    # WHEN it is deployed
    done = broken_copy.make("deploy", "ENV=dev")

    # THEN the deploy fails, says why, and what was live is live
    assert done.returncode != 0
    for word in broken.says:
        assert word in done.stderr, done.stderr
    assert project.live_version() == live
    smoke = project.make("smoke", "ENV=dev")
    assert smoke.returncode == 0, smoke.stderr
