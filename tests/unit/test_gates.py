"""What an environment demands of a release, and what it says when it is not met."""

import functools
import os
from dataclasses import replace

import pytest
from ops.checks.evidence_of_tests import LAYERS
from ops.environment import Environment
from ops.release import evidence, gates
from ops.release.evidence import Release

RELEASE = Release("v1", "sha256 of v1", "20170115-0123456789ab", "0123456789abcdef", False)
OTHER = "sha256 of other bytes"


@functools.cache
def load(
    name, settings
):  # pylint: disable=unused-argument  # of the variable SET: a key of the cache
    return Environment.load(name)


@pytest.fixture(name="records")
def fixture_records(monkeypatch):
    """A dictionary in place of the buckets: (environment, kind) to what is said of v1."""
    records = {}
    monkeypatch.setattr(
        evidence,
        "latest",
        lambda environment, kind, version: (
            records.get((environment.name, kind)) if version == RELEASE.version else None
        ),
    )
    return records


@pytest.fixture(name="faults")
def fixture_faults(tmp_path, records):  # pylint: disable=unused-argument  # in place of AWS
    """A function that returns what an environment says against a release."""

    def faults(name, release=RELEASE, promotion=False):
        return list(gates.faults(load(name, os.environ.get("SET")), release, tmp_path, promotion))

    return faults


def of_this_manifest(**more):
    return {"manifest_sha256": RELEASE.manifest_sha256} | more


def all_that_prod_asks_for():
    return {
        ("staging", evidence.POSTCHECK): of_this_manifest(passed=True),
        ("staging", evidence.tests("unit")): of_this_manifest(),
        ("prod", evidence.tests("integration")): of_this_manifest(),
        ("prod", evidence.tests("release-test")): of_this_manifest(),
        ("prod", evidence.approval("release-manager")): of_this_manifest(),
        ("prod", evidence.approval("data-owner")): of_this_manifest(),
    }


@pytest.mark.parametrize("name", ["dev", "qa", "staging"])
def test_before_prod_a_clean_build_is_taken_without_evidence(name, faults):
    assert not faults(name)


@pytest.mark.parametrize("name", ["qa", "staging", "prod"])
def test_a_build_of_changed_sources_is_not_taken_outside_dev(name, faults, records):
    records |= all_that_prod_asks_for()
    dirty = replace(RELEASE, dirty=True)
    (fault,) = faults(name, dirty)
    assert "v1 was built from changed sources" in fault and name in fault
    assert not faults("dev", dirty)


def test_prod_names_all_that_is_missing_and_the_command_for_each(faults):
    text = "\n".join(faults("prod"))
    assert len(text.splitlines()) == 6
    for command in (
        "make unit",
        "make integration",
        "make release-test",
        "make promote FROM=staging TO=prod VERSION=v1",
        "make approve ENV=prod ROLE=release-manager VERSION=v1",
        "make approve ENV=prod ROLE=data-owner VERSION=v1",
    ):
        assert command in text


def test_prod_takes_what_has_everything_wherever_on_the_way_it_was_recorded(faults, records):
    records |= all_that_prod_asks_for()
    assert not faults("prod")


@pytest.mark.parametrize("key", all_that_prod_asks_for(), ids="-".join)
@pytest.mark.parametrize("change", ["missing", "of other bytes"])
def test_each_record_is_needed_and_counts_for_one_manifest_only(key, change, faults, records):
    records |= all_that_prod_asks_for()
    if change == "missing":
        del records[key]
    else:
        records[key]["manifest_sha256"] = OTHER
    (fault,) = faults("prod")
    assert key[1].rpartition("/")[2].removesuffix("check") in fault


def test_an_approval_of_other_bytes_is_called_that(faults, records):
    records |= all_that_prod_asks_for()
    records["prod", evidence.approval("data-owner")]["manifest_sha256"] = OTHER
    assert "is for another manifest of v1" in faults("prod")[0]


def test_checks_that_failed_are_no_promotion(faults, records):
    records |= all_that_prod_asks_for()
    records["staging", evidence.POSTCHECK]["passed"] = False
    assert "has passed its checks in staging" in faults("prod")[0]


def test_a_promotion_asks_for_evidence_where_a_deploy_does_not(faults, records):
    assert "passed its checks in dev" in faults("qa", promotion=True)[0]
    records["dev", evidence.POSTCHECK] = of_this_manifest(passed=True)
    assert not faults("qa", promotion=True)
    assert "nothing is promoted to dev" in faults("dev", promotion=True)[0]


def test_what_was_promoted_once_needs_no_look_at_the_environment_before(faults, records):
    records |= all_that_prod_asks_for()
    records["prod", evidence.PROMOTION] = records.pop(("staging", evidence.POSTCHECK))
    assert not faults("prod")


def test_tests_of_this_checkout_count_for_what_was_built_from_it(tmp_path, faults, records):
    records |= all_that_prod_asks_for()
    del records["staging", evidence.tests("unit")]
    folder = tmp_path / ".evidence/tests/unit"
    folder.mkdir(parents=True)
    (folder / f"{RELEASE.sources}.json").write_text('{"layer": "unit"}')
    assert not faults("prod")
    assert faults("prod", replace(RELEASE, sources="20170115-another12345"))


def test_every_layer_of_the_makefile_can_be_asked_for():
    assert set(Environment.load("prod").gates["tests"]) <= set(LAYERS)


def test_releases_come_from_the_environment_before_by_a_profile_of_its_own(monkeypatch):
    assert Environment.load("dev").before() is None
    before = Environment.load("prod").before()
    assert (before.name, before.profile) == ("staging", "staging")
    monkeypatch.setenv("FROM_PROFILE", "reader-of-staging")
    assert Environment.load("prod").before().profile == "reader-of-staging"


def test_what_is_set_at_run_time_loosens_no_gate(faults, monkeypatch):
    monkeypatch.setenv("SET", "gates.approvals=[] gates.tests=[] gates.promoted=false")
    assert len("\n".join(faults("prod")).splitlines()) == 6
