"""A deploy that is broken or killed in the phase that switches, and finished by deploying again.

`make drill` does the same in every phase.
"""

from tests.drills.phases import AS_BEFORE, SWITCHED, PhaseDrill
from tests.drills.releases import build_releases, must


def test_a_deploy_that_breaks_at_the_switch_is_finished_by_the_next(project, broken_copy, tmp_path):
    build_releases(broken_copy, ["drill-1"])

    rows = PhaseDrill(broken_copy, tmp_path).run("switch_live", "drill-1")

    assert [fault for row in rows for fault in row.faults] == []
    assert [(row.how, row.live) for row in rows] == [
        ("AWS refuses states:UpdateStateMachineAlias", AS_BEFORE),
        ("SIGKILL as it begins", AS_BEFORE),
        ("SIGKILL when it has ended", SWITCHED),
    ]
    must(project.make("deploy", "ENV=dev"))  # what the other tests work with
