"""The accounts of local AWS: an administrator in each, and the AWS profiles that use them."""

# pylint: disable=protected-access
import configparser
import os
import secrets
import string
from pathlib import Path

from ministack.core.responses import request_scope
from ministack.services import iam

from localaws.settings import REGION, Settings

ADMINISTRATOR = "admin"
_ADMINISTRATOR_POLICY = "arn:aws:iam::aws:policy/AdministratorAccess"
_KEY_ALPHABET = string.ascii_uppercase + "234567"


def bootstrap(settings: Settings) -> None:
    """Give each account its administrator and write the AWS config and credentials files.

    The keys in the credentials file are kept when they are there, so that they are the same after
    a restart and after a crash that lost the emulator's state.
    """
    folder = settings.home / "aws"
    folder.mkdir(mode=0o700, exist_ok=True)
    credentials = configparser.ConfigParser()
    credentials.read(folder / "credentials")
    profiles = configparser.ConfigParser()
    for profile, account in settings.accounts.items():
        if not credentials.has_section(profile):
            credentials[profile] = {
                "aws_access_key_id": "AKIA" + _random(_KEY_ALPHABET, 16),
                "aws_secret_access_key": _random(string.ascii_letters + string.digits, 40),
            }
        key = credentials[profile]
        _ensure_administrator(account, key["aws_access_key_id"], key["aws_secret_access_key"])
        profiles[f"profile {profile}"] = {
            "region": REGION,
            "endpoint_url": settings.url,
            "output": "json",
        }
    _write(folder / "credentials", credentials)
    _write(folder / "config", profiles)


def _ensure_administrator(account: str, key_id: str, secret: str) -> None:
    """Make the IAM user and its key unless they are there; an account has no usable root key."""
    # ministack's request handlers take the parsed query string: a list of values a name.
    user = {"UserName": [ADMINISTRATOR]}
    with request_scope(account, REGION):
        if iam._users.get(ADMINISTRATOR) is None:
            _call(iam._create_user, user)
            _call(iam._attach_user_policy, {**user, "PolicyArn": [_ADMINISTRATOR_POLICY]})
        iam._access_keys[key_id] = {
            "UserName": ADMINISTRATOR,
            "AccessKeyId": key_id,
            "SecretAccessKey": secret,
            "Status": "Active",
            "CreateDate": iam._users[ADMINISTRATOR]["CreateDate"],
        }


def _call(handler, parameters: dict[str, list[str]]) -> None:
    status, _, body = handler(parameters)
    if status != 200:
        raise RuntimeError(f"local IAM refused {handler.__name__}({parameters}): {body!r}")


def _random(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def _write(path: Path, content: configparser.ConfigParser) -> None:
    """Replace the file whole, readable by its owner only."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    private = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(private, "w", encoding="utf-8") as file:
        content.write(file)
    draft.replace(path)
