"""CloudFormation's drift detection for every type that is simulated, by what the services say.

ministack has the operations; of its readers some know a few properties, and most types have none.
"""

# pylint: disable=protected-access
import asyncio
import contextvars
import urllib.parse

import boto3
from botocore.client import BaseClient
from botocore.config import Config
from ministack import app
from ministack.core import iam_evaluator
from ministack.core.router import extract_access_key_id
from ministack.services.cloudformation import drift

from localaws import hooks
from localaws.cloudformation_properties import SIMULATED
from localaws.cloudformation_readers import MissingResource, Properties, read
from localaws.settings import REGION, Settings

# What a service takes and never gives back, here as on AWS.
_WRITE_ONLY = {
    "AWS::Lambda::Function": {"Code"},
    "AWS::Lambda::LayerVersion": {"Content"},
    "AWS::RedshiftServerless::Namespace": {"AdminPasswordSecretKmsKeyId", "ManageAdminPassword"},
}
_DEFAULTS = (False, "", 0, None, [], {})
_DETECTIONS = {"DetectStackDrift", "DetectStackResourceDrift"}


def register() -> None:
    """Give drift detection a reader for each type."""
    readers = hooks.original(drift, "_DRIFT_READERS")
    for type_, paths in SIMULATED.items():
        properties = {path.partition(".")[0] for path in paths.split()}
        reader = (_reader(type_), frozenset(properties - _WRITE_ONLY.get(type_, set())))
        (hooks.replace if type_ in readers else hooks.add)(readers, type_, reader)
    hooks.replace(
        app.SERVICE_HANDLERS,
        "cloudformation",
        _detecting_aside(hooks.original(app.SERVICE_HANDLERS, "cloudformation")),
    )


def _detecting_aside(handle):
    """Run a detection in a thread: it calls the services over HTTP, which this loop answers.

    As on AWS it reads with the caller's permissions.
    """

    async def handler(method: str, path: str, headers: dict, body: bytes, query: dict) -> tuple:
        form = urllib.parse.parse_qs((body or b"").decode(errors="replace"))
        request = (method, path, headers, body, query)
        if form.get("Action", [""])[0] not in _DETECTIONS:
            return await handle(*request)
        _caller.set(_Caller(headers))
        return await asyncio.to_thread(lambda: asyncio.run(handle(*request)))

    return handler


class _Caller:
    """The clients of whoever asks for a detection; what readers take for a boto3 session."""

    def __init__(self, headers: dict):
        key = iam_evaluator.resolve_credential(extract_access_key_id(headers))
        self._session = boto3.Session(
            key.access_key_id, key.secret_access_key, key.session_token, region_name=REGION
        )
        self._clients: dict[str, BaseClient] = {}

    def client(self, service: str) -> BaseClient:
        """Return a client of a service."""
        if service not in self._clients:
            self._clients[service] = self._session.client(
                service,
                endpoint_url=Settings.from_environment().url,
                config=Config(s3={"addressing_style": "path"}),
            )
        return self._clients[service]


_caller: contextvars.ContextVar[_Caller] = contextvars.ContextVar("caller")


def _reader(type_: str):
    def reader(physical_id: str, wanted: Properties) -> Properties | None:
        try:
            found = read(_caller.get(), type_, physical_id, wanted)
        except MissingResource:
            return None
        return {
            key: _without_defaults(value, wanted.get(key)) if key != "Tags" else value
            for key, value in found.items()
        }

    return reader


def _without_defaults(found: object, wanted: object) -> object:
    """Leave out what the template does not set and the service gives its default.

    A whole number that the service keeps as a float is spelled as templates do: 5, not 5.0.
    """
    if isinstance(found, float) and found.is_integer():
        return int(found)
    if isinstance(found, dict) and isinstance(wanted, dict):
        return {
            key: _without_defaults(value, wanted.get(key))
            for key, value in found.items()
            if key in wanted or value not in _DEFAULTS
        }
    if isinstance(found, list) and isinstance(wanted, list):
        sample = wanted + [None] * (len(found) - len(wanted))
        return [_without_defaults(value, like) for value, like in zip(found, sample)]
    return found
