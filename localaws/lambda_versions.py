"""Lambda versions as on AWS: a number is never used twice, and a version's code is its own."""

# pylint: disable=protected-access
import json

from ministack.core.responses import AccountRegionScopedDict
from ministack.services import lambda_svc

from localaws import hooks

_next_versions = AccountRegionScopedDict()  # function -> the next number, also once it is deleted


def register() -> None:
    """Hook into ministack's Lambda, around what lambda_ has hooked."""
    hooks.replace(lambda_svc, "_publish_version", _publish(lambda_svc._publish_version))
    hooks.replace(lambda_svc, "_get_function", _get_function(lambda_svc._get_function))
    hooks.replace(lambda_svc, "serve_function_code", _serve(lambda_svc.serve_function_code))
    hooks.replace(lambda_svc, "get_state", _get_state(lambda_svc.get_state))
    hooks.replace(lambda_svc, "_restore_state", _restore_state(lambda_svc._restore_state))


def _publish(publish):
    """Go on counting where a deleted function of the same name has stopped."""

    def publish_next(name: str, data: dict):
        func = lambda_svc._functions.get(name)
        if func is not None:
            func["next_version"] = max(func["next_version"], _next_versions.get(name, 1))
        response = publish(name, data)
        if func is not None:
            _next_versions[name] = func["next_version"]
        return response

    return publish_next


def _get_function(get_function):
    """Point Code.Location at the version that was asked for; ministack's is always $LATEST."""

    def get_version(name: str, qualifier: str | None = None):
        response = get_function(name, qualifier)
        if response[0] != 200:
            return response
        answer = json.loads(response[2])
        version = answer["Configuration"]["Version"]
        if version != "$LATEST" and "Location" in answer["Code"]:
            path, query = answer["Code"]["Location"].split("?", 1)
            answer["Code"]["Location"] = f"{path}:{version}?{query}"
        return response[0], response[1], json.dumps(answer).encode()

    return get_version


def _serve(serve):
    def serve_version(name: str, account_id: str | None = None, region: str | None = None):
        name, _, version = name.partition(":")
        if not version:
            return serve(name, account_id=account_id, region=region)
        func = lambda_svc._functions.get_scoped(account_id, region, name) or {}
        record = func.get("versions", {}).get(version)
        if record is None:
            return 404, {"Content-Type": "text/plain"}, b"Function version not found"
        return 200, {"Content-Type": "application/zip"}, record["code_zip"]

    return serve_version


def _get_state(get_state):
    return lambda: get_state() | {"next_versions": _next_versions}


def _restore_state(restore):
    def restore_all(data):
        restore(data)
        _next_versions.update((data or {}).get("next_versions", {}))

    return restore_all
