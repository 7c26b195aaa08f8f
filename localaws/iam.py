"""IAM without a way round it: only keys that IAM or STS issued are credentials."""

from ministack.core import iam_evaluator

from localaws import hooks


def register() -> None:
    """Refuse ministack's root keys: no key, ``test`` and any 12-digit account id.

    They pass every check, so a part that used one would be green here and denied on AWS.
    """
    hooks.replace(iam_evaluator, "is_root_access_key", lambda access_key_id: False)
