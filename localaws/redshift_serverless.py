"""Redshift Serverless: namespaces (a PostgreSQL server each) and workgroups.

Not simulated: capacity, networks, snapshots and log exports; their settings are kept and shown.
"""

import json
import secrets
import shutil
import string
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ministack.app
from ministack.core import iam_actions, router
from ministack.core.responses import request_scope
from ministack.services import secretsmanager

from localaws import aws_json, hooks
from localaws.aws_json import Request, ServiceError
from localaws.postgres import Server, remove_drafts
from localaws.redshift_store import NAMESPACE, WORKGROUP, Store
from localaws.settings import Settings

_SERVICE = "redshift-serverless"
_PORT = 5439
_BASE_CAPACITY = 128
_DEFAULT_DATABASE = "dev"
_DEFAULT_ADMINISTRATOR = "admin"
_PASSWORD_ALPHABET = string.ascii_letters + string.digits

_lock = threading.RLock()  # an operation reads, decides and writes
_state: dict[str, Any] = {}
_servers: dict[Path, Server] = {}


def register() -> None:
    """Serve redshift-serverless, with its actions and resources known to IAM."""
    hooks.add(ministack.app.SERVICE_HANDLERS, _SERVICE, aws_json.handler(_SERVICE, _OPERATIONS))
    # Else ministack reads the models of all of AWS to learn of such a service: 5 s, 400 MB.
    hooks.add(router.SERVICE_PATTERNS, _SERVICE, {"target_prefixes": ["RedshiftServerless."]})
    hooks.add(iam_actions.SERVICE_TO_IAM_NAMESPACE, _SERVICE, _SERVICE)
    find_arn = hooks.original(iam_actions, "extract_resource_arn")

    def extract_resource_arn(service, *request):
        if service != _SERVICE:
            return find_arn(service, *request)
        # pylint: disable-next=unbalanced-tuple-unpacking
        body, _, region, account = request[-4:]
        return _resource_arn(json.loads(body or b"{}"), account, region)

    hooks.replace(iam_actions, "extract_resource_arn", extract_resource_arn)


def open_warehouses(settings: Settings) -> None:
    """Open what was kept and start the servers of all namespaces, side by side."""
    folder = settings.home / "redshift"
    folder.mkdir(mode=0o755, exist_ok=True)
    for place in folder.glob("*/*/*/"):  # also where no namespace came of it
        remove_drafts(place)
    _state.update(folder=folder, store=Store(folder / "store.sqlite"))
    namespaces = store().all(NAMESPACE)
    for namespace in namespaces:
        if "adminPasswordSecretArn" in namespace:
            _restore_secret(namespace)
    servers = [server(namespace) for namespace in namespaces]
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(Server.start, servers))


def close_warehouses() -> None:
    """Stop every server; what is committed is kept."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(Server.stop, _servers.values()))
    _servers.clear()
    store().close()


def check_warehouses() -> None:
    """Raise an error where a server does not answer."""
    for namespace in store().all(NAMESPACE):
        server(namespace).connect("postgres").close()


def store() -> Store:
    """Return the documents of this home."""
    return _state["store"]


def server(namespace: dict[str, Any]) -> Server:
    """Return the PostgreSQL server of a namespace."""
    place = (namespace["account"], namespace["region"], namespace["namespaceName"])
    folder = _state["folder"].joinpath(*place)
    with _lock:
        return _servers.setdefault(folder, Server(folder))


def workgroup(account: str, region: str, name: str) -> dict[str, Any] | None:
    """Return a workgroup by its name or its ARN, None where there is none."""
    if name.startswith("arn:"):
        found = [w for w in store().all(WORKGROUP, account, region) if w["workgroupArn"] == name]
        return found[0] if found else None
    return store().get(WORKGROUP, account, region, name)


def namespace_of(found: dict[str, Any]) -> dict[str, Any]:
    """Return the namespace that a workgroup serves."""
    return store().get(NAMESPACE, found["account"], found["region"], found["namespaceName"])


def administrator_password(namespace: dict[str, Any]) -> str:
    """Return the administrator's current password."""
    arn = namespace.get("adminPasswordSecretArn")
    if arn is None:
        return namespace["adminUserPassword"]
    with request_scope(namespace["account"], namespace["region"]):
        return json.loads(secretsmanager.resolve_secret_string(arn))["password"]


# ---- namespaces ---------------------------------------------------------------------------------


def _create_namespace(request: Request) -> dict:
    given = request.parameters
    name = given["namespaceName"]
    with _lock:
        if store().get(NAMESPACE, request.account, request.region, name):
            raise ServiceError("ConflictException", f"Namespace {name} already exists.")
        namespace_id = str(uuid.uuid4())
        namespace = {
            "account": request.account,
            "region": request.region,
            "namespaceName": name,
            "namespaceId": namespace_id,
            "namespaceArn": _arn(request, "namespace", namespace_id),
            "adminUsername": given.get("adminUsername", _DEFAULT_ADMINISTRATOR),
            "dbName": given.get("dbName", _DEFAULT_DATABASE),
            "iamRoles": [],
            "kmsKeyId": "AWS_OWNED_KMS_KEY",
            "logExports": [],
            "tags": given.get("tags", []),
            "creationDate": datetime.now(UTC),
        }
        _set_namespace(namespace, given)
        warehouse = server(namespace)
        warehouse.create(namespace["adminUsername"])
        warehouse.create_database(namespace["dbName"], namespace["adminUsername"])
        _put(NAMESPACE, "namespaceName", namespace)
        return {"namespace": _shown_namespace(namespace)}


def _set_namespace(namespace: dict, given: dict) -> None:
    for name in ("iamRoles", "defaultIamRoleArn", "kmsKeyId", "logExports"):
        if name in given:
            namespace[name] = given[name]
    default = namespace.get("defaultIamRoleArn")
    if default and default not in namespace["iamRoles"]:
        raise ServiceError(
            "ValidationException", f"The default IAM role {default} is not one of iamRoles."
        )
    if given.get("manageAdminPassword") and given.get("adminUserPassword"):
        raise ServiceError(
            "ValidationException",
            "adminUserPassword can't be given when manageAdminPassword is true.",
        )
    if "adminUserPassword" in given or given.get("manageAdminPassword") is False:
        _delete_secret(namespace)
        namespace["adminUserPassword"] = given.get("adminUserPassword", "")
    elif given.get("manageAdminPassword") and "adminPasswordSecretArn" not in namespace:
        namespace.pop("adminUserPassword", None)
        namespace["adminPasswordSecretArn"] = _create_secret(namespace)
    elif "adminPasswordSecretArn" not in namespace:
        namespace.setdefault("adminUserPassword", _password())
    if "adminPasswordSecretKmsKeyId" in given:
        namespace["adminPasswordSecretKmsKeyId"] = given["adminPasswordSecretKmsKeyId"]


def _create_secret(namespace: dict) -> str:
    """Make the managed password's secret; a copy of it lets it come back after a crash."""
    user = namespace["adminUsername"]
    namespace["managedSecret"] = json.dumps({"username": user, "password": _password()})
    with request_scope(namespace["account"], namespace["region"]):
        return _put_secret(namespace)


def _restore_secret(namespace: dict) -> None:
    """Make the secret again where a crash took it from the emulator's memory, with the same ARN."""
    arn = namespace["adminPasswordSecretArn"]
    with request_scope(namespace["account"], namespace["region"]):
        if secretsmanager.resolve_secret_string(arn) is None:
            made = _put_secret(namespace)
            _, secret = secretsmanager._resolve(made)  # pylint: disable=protected-access
            secret["ARN"] = arn


def _put_secret(namespace: dict) -> str:
    name = f"redshift!{namespace['namespaceName']}-{namespace['adminUsername']}"
    secretsmanager.delete_secret_in_process(name)  # what a crash may have left
    return secretsmanager.create_secret_in_process(
        name, namespace["managedSecret"], "Secret created for Redshift Serverless namespace"
    )


def _delete_secret(namespace: dict) -> None:
    arn = namespace.pop("adminPasswordSecretArn", None)
    namespace.pop("managedSecret", None)
    if arn:
        with request_scope(namespace["account"], namespace["region"]):
            secretsmanager.delete_secret_in_process(arn)


def _password() -> str:
    return "".join(secrets.choice(_PASSWORD_ALPHABET) for _ in range(32))


def _get_namespace(request: Request) -> dict:
    return {"namespace": _shown_namespace(_namespace(request))}


def _update_namespace(request: Request) -> dict:
    with _lock:
        namespace = _namespace(request)
        user = request.parameters.get("adminUsername", namespace["adminUsername"])
        if user != namespace["adminUsername"]:
            raise ServiceError("ValidationException", "adminUsername can't be changed here.")
        _set_namespace(namespace, request.parameters)
        _put(NAMESPACE, "namespaceName", namespace)
        return {"namespace": _shown_namespace(namespace)}


def _delete_namespace(request: Request) -> dict:
    with _lock:
        namespace = _namespace(request)
        name = namespace["namespaceName"]
        for found in store().all(WORKGROUP, request.account, request.region):
            if found["namespaceName"] == name:
                raise ServiceError(
                    "ConflictException",
                    f"There is an existing workgroup {found['workgroupName']} associated with "
                    f"the namespace {name}.",
                )
        warehouse = server(namespace)
        warehouse.stop()
        shutil.rmtree(warehouse.folder)
        _servers.pop(warehouse.folder)
        _delete_secret(namespace)
        store().delete(NAMESPACE, request.account, request.region, name)
        return {"namespace": {**_shown_namespace(namespace), "status": "DELETING"}}


def _list_namespaces(request: Request) -> dict:
    found = store().all(NAMESPACE, request.account, request.region)
    return _page(request, "namespaces", [_shown_namespace(one) for one in found])


def _namespace(request: Request) -> dict:
    name = request.parameters["namespaceName"]
    found = store().get(NAMESPACE, request.account, request.region, name)
    if found is None:
        raise ServiceError("ResourceNotFoundException", f"Namespace {name} not found.", 400)
    return found


def _shown_namespace(namespace: dict) -> dict:
    hidden = ("account", "region", "tags", "adminUserPassword", "managedSecret")
    shown = {key: value for key, value in namespace.items() if key not in hidden}
    return _timed({**shown, "status": "AVAILABLE"})


# ---- workgroups ---------------------------------------------------------------------------------

_WORKGROUP_SETTINGS = """
    baseCapacity configParameters enhancedVpcRouting extraComputeForAutomaticOptimization
    ipAddressType maxCapacity port pricePerformanceTarget publiclyAccessible securityGroupIds
    subnetIds trackName
""".split()


def _create_workgroup(request: Request) -> dict:
    given = request.parameters
    name = given["workgroupName"]
    with _lock:
        _namespace(request)
        if store().get(WORKGROUP, request.account, request.region, name):
            raise ServiceError("ConflictException", f"Workgroup {name} already exists.")
        for other in store().all(WORKGROUP, request.account, request.region):
            if other["namespaceName"] == given["namespaceName"]:
                raise ServiceError(
                    "ConflictException",
                    f"Namespace {given['namespaceName']} already has the workgroup "
                    f"{other['workgroupName']}.",
                )
        workgroup_id = str(uuid.uuid4())
        host = f"{name}.{request.account}.{request.region}.redshift-serverless.amazonaws.com"
        created = {
            "account": request.account,
            "region": request.region,
            "workgroupName": name,
            "workgroupId": workgroup_id,
            "workgroupArn": _arn(request, "workgroup", workgroup_id),
            "namespaceName": given["namespaceName"],
            "baseCapacity": _BASE_CAPACITY,
            "configParameters": [],
            "enhancedVpcRouting": False,
            "publiclyAccessible": False,
            "securityGroupIds": [],
            "subnetIds": [],
            "port": _PORT,
            "workgroupVersion": "1.0",
            "patchVersion": "1.0.0",
            "tags": given.get("tags", []),
            "creationDate": datetime.now(UTC),
        }
        _set_workgroup(created, given)
        created["endpoint"] = {"address": host, "port": created["port"], "vpcEndpoints": []}
        _put(WORKGROUP, "workgroupName", created)
        return {"workgroup": _shown_workgroup(created)}


def _set_workgroup(found: dict, given: dict) -> None:
    found.update({key: given[key] for key in _WORKGROUP_SETTINGS if key in given})
    most = found.get("maxCapacity", -1)
    if most not in (-1, 0) and most < found["baseCapacity"]:
        raise ServiceError(
            "ValidationException",
            f"maxCapacity {most} is less than baseCapacity {found['baseCapacity']}.",
        )


def _get_workgroup(request: Request) -> dict:
    return {"workgroup": _shown_workgroup(_workgroup(request))}


def _update_workgroup(request: Request) -> dict:
    with _lock:
        found = _workgroup(request)
        _set_workgroup(found, request.parameters)
        _put(WORKGROUP, "workgroupName", found)
        return {"workgroup": _shown_workgroup(found)}


def _delete_workgroup(request: Request) -> dict:
    with _lock:
        found = _workgroup(request)
        store().delete(WORKGROUP, request.account, request.region, found["workgroupName"])
        return {"workgroup": {**_shown_workgroup(found), "status": "DELETING"}}


def _list_workgroups(request: Request) -> dict:
    found = store().all(WORKGROUP, request.account, request.region)
    return _page(request, "workgroups", [_shown_workgroup(one) for one in found])


def _workgroup(request: Request) -> dict:
    name = request.parameters["workgroupName"]
    found = store().get(WORKGROUP, request.account, request.region, name)
    if found is None:
        raise ServiceError("ResourceNotFoundException", f"Workgroup {name} not found.", 400)
    return found


def _shown_workgroup(found: dict) -> dict:
    shown = {key: value for key, value in found.items() if key not in ("account", "region", "tags")}
    return _timed({**shown, "status": "AVAILABLE"})


# ---- tags ---------------------------------------------------------------------------------------


def _tag_resource(request: Request) -> dict:
    with _lock:
        kind, key, found = _tagged(request)
        tags = {tag["key"]: tag["value"] for tag in found["tags"] + request.parameters["tags"]}
        found["tags"] = [{"key": name, "value": value} for name, value in tags.items()]
        _put(kind, key, found)
        return {}


def _untag_resource(request: Request) -> dict:
    with _lock:
        kind, key, found = _tagged(request)
        dropped = request.parameters["tagKeys"]
        found["tags"] = [tag for tag in found["tags"] if tag["key"] not in dropped]
        _put(kind, key, found)
        return {}


def _list_tags(request: Request) -> dict:
    return {"tags": _tagged(request)[2]["tags"]}


def _tagged(request: Request) -> tuple[str, str, dict]:
    arn = request.parameters["resourceArn"]
    for kind, key in ((NAMESPACE, "namespace"), (WORKGROUP, "workgroup")):
        for found in store().all(kind, request.account, request.region):
            if found[f"{key}Arn"] == arn:
                return kind, f"{key}Name", found
    raise ServiceError("ResourceNotFoundException", f"Resource {arn} not found.", resourceName=arn)


# ---- shared -------------------------------------------------------------------------------------


def _put(kind: str, name: str, found: dict) -> None:
    store().put(kind, found["account"], found["region"], found[name], found)


def _page(request: Request, key: str, found: list) -> dict:
    size = request.parameters.get("maxResults", 100)
    begin = int(request.parameters.get("nextToken") or 0)
    rest = {"nextToken": str(begin + size)} if begin + size < len(found) else {}
    return {key: found[begin : begin + size], **rest}


def _timed(shown: dict) -> dict:
    """Dates are ISO 8601 in this service."""
    return {**shown, "creationDate": shown["creationDate"].strftime("%Y-%m-%dT%H:%M:%S.%fZ")}


def _arn(request: Request, kind: str, identifier: str) -> str:
    return f"arn:aws:{_SERVICE}:{request.region}:{request.account}:{kind}/{identifier}"


def _resource_arn(parameters: dict, account: str, region: str) -> str:
    """Return what an IAM policy has to name for a request; "*" for one that names nothing yet."""
    if arn := parameters.get("resourceArn"):
        return arn
    for kind, key in ((WORKGROUP, "workgroup"), (NAMESPACE, "namespace")):
        if name := parameters.get(f"{key}Name"):
            found = store().get(kind, account, region, name)
            return found[f"{key}Arn"] if found else f"arn:aws:{_SERVICE}:{region}:{account}:{key}/*"
    return "*"


_OPERATIONS = {
    "CreateNamespace": _create_namespace,
    "GetNamespace": _get_namespace,
    "UpdateNamespace": _update_namespace,
    "DeleteNamespace": _delete_namespace,
    "ListNamespaces": _list_namespaces,
    "CreateWorkgroup": _create_workgroup,
    "GetWorkgroup": _get_workgroup,
    "UpdateWorkgroup": _update_workgroup,
    "DeleteWorkgroup": _delete_workgroup,
    "ListWorkgroups": _list_workgroups,
    "TagResource": _tag_resource,
    "UntagResource": _untag_resource,
    "ListTagsForResource": _list_tags,
}
