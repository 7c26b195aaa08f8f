"""The drills know every phase of deploy, and a phase that nobody drills is noticed."""

from tests.drills.breaks import BREAKS
from tests.drills.phases import phases_of


def test_every_phase_of_deploy_has_a_drill():
    assert list(BREAKS) == phases_of()


def test_a_phase_is_read_from_the_script(tmp_path):
    script = tmp_path / "deploy.sh"
    script.write_text(
        "readonly PHASES=(\n  first_phase  # does this (and that)\n  second # more\n)\n"
        "readonly OTHER=(\n  third\n)\n",
        encoding="utf-8",
    )
    assert phases_of(script) == ["first_phase", "second"]
