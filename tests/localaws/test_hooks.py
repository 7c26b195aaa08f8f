"""Hooks fail loudly where ministack is not the one that localaws was written against."""

import subprocess

import pytest

from tests.conftest import PYTHON, REPOSITORY


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "import collections; hooks.replace(collections, 'no_such_name', 1)",
            "ministack 1.5.33 has no 'no_such_name' in collections",
        ),
        ("hooks.replace({'a': 1}, 'b', 1)", "has no 'b' in dictionary"),
        ("hooks.add({'a': 1}, 'a', 1)", "already has 'a'"),
        (
            "hooks.MINISTACK_VERSION = '1.5.34'; hooks.check_version()",
            "ministack 1.5.33 is installed, but localaws hooks the internals of 1.5.34",
        ),
    ],
)
def test_a_hook_that_does_not_fit_is_an_error(code, message):
    done = subprocess.run(
        [PYTHON, "-c", f"from localaws import hooks; {code}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "HookError" in done.stderr
    assert message in done.stderr


def test_what_is_replaced_is_returned():
    code = "from localaws import hooks; d = {'a': 1}; print(hooks.replace(d, 'a', 2), d['a'])"
    done = subprocess.run(
        [PYTHON, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "2"]
