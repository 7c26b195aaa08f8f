"""botocore clients that call local AWS over HTTP as a role, so that IAM decides about each call."""

# pylint: disable=protected-access
import datetime
import functools

import botocore.config
import botocore.credentials
import botocore.loaders
import botocore.session
from botocore.client import BaseClient

from localaws.credentials import SESSION_SECONDS, role_session
from localaws.settings import REGION, Settings

# Parsing a service's model takes longer than any call: all clients share what one has read.
_loader = botocore.loaders.Loader(include_default_search_paths=True)


@functools.lru_cache(maxsize=256)
def role_client(
    service: str, role_arn: str, session_name: str, principal: str, attempts: int = 1
) -> BaseClient:
    """Return a client of ``service`` with the role's credentials, renewed before they expire.

    ``principal`` is the AWS service that assumes the role (``states.amazonaws.com``). Calls are
    made once where retries are the state machine's, ``attempts`` times where they are the
    service's own. Raises RoleError at the first call if the role cannot be assumed.
    """
    session = botocore.session.Session()
    session.register_component("data_loader", _loader)

    def assume() -> dict[str, str]:
        keys = role_session(role_arn, session_name, service=principal)
        return {
            "access_key": keys["AWS_ACCESS_KEY_ID"],
            "secret_key": keys["AWS_SECRET_ACCESS_KEY"],
            "token": keys["AWS_SESSION_TOKEN"],
            "expiry_time": _expiry(),
        }

    session._credentials = botocore.credentials.DeferredRefreshableCredentials(
        refresh_using=assume, method="role"
    )
    return session.create_client(
        service,
        region_name=REGION,
        endpoint_url=Settings.from_environment().url,
        config=botocore.config.Config(
            retries={"total_max_attempts": attempts, "mode": "standard"},
            # As long as the longest Lambda.
            read_timeout=900,
            max_pool_connections=50,
            s3={"addressing_style": "path"},
        ),
    )


def _expiry() -> str:
    now = datetime.datetime.now(datetime.timezone.utc)
    return (now + datetime.timedelta(seconds=SESSION_SECONDS)).isoformat()
