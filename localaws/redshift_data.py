"""The Redshift Data API on the warehouses of redshift_serverless.

A statement runs in a thread, on a connection of its own, as the database user that its caller's
identity maps to: ``IAM:<user>``, ``IAMR:<role>``, or the user of a secret. New users have no
grants; the principal's tag RedshiftDbRoles names database roles that its user is to have
(``sys:superuser`` makes it a superuser), as on AWS. Needed beside redshift-data's own actions:
redshift-serverless:GetCredentials, or secretsmanager:GetSecretValue for a secret.

As on AWS, a statement is seen by the role or user that submitted it only, and by the policy
condition redshift-data:statement-owner-iam-userid. Results are kept for 24 hours. Not simulated:
provisioned clusters, sessions, WithEvent, ExecutionMode AUTO_COMMIT; each is refused by name.
"""

# pylint: disable=protected-access
import json
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import ministack.app
from ministack.core import iam_actions, iam_evaluator, router
from ministack.core.responses import request_scope
from ministack.services import secretsmanager

from localaws import aws_json, hooks, redshift_serverless
from localaws.aws_json import Request, ServiceError
from localaws.redshift_statements import (
    ENDED,
    FLOATS,
    INTEGERS,
    PRECISIONS,
    TYPES,
    connect,
    run_batch,
    run_one,
    statements,
)
from localaws.redshift_store import PAGE
from localaws.settings import Settings

_SERVICE = "redshift-data"
_ROLES_TAG = "RedshiftDbRoles"
_OWNER_KEY = "redshift-data:statement-owner-iam-userid"
_NO_RESULT = "Query does not have result. Please check query status with DescribeStatement."


def register() -> None:
    """Serve redshift-data, with its actions, resources and condition key known to IAM."""
    hooks.add(ministack.app.SERVICE_HANDLERS, _SERVICE, aws_json.handler(_SERVICE, _OPERATIONS))
    # Else ministack reads the models of all of AWS to learn of such a service: 5 s, 400 MB.
    hooks.add(router.SERVICE_PATTERNS, _SERVICE, {"target_prefixes": ["RedshiftData."]})
    hooks.add(iam_actions.SERVICE_TO_IAM_NAMESPACE, _SERVICE, _SERVICE)
    find_action = hooks.original(iam_actions, "extract_iam_action")
    find_arn = hooks.original(iam_actions, "extract_resource_arn")
    find_context = hooks.original(iam_actions, "request_tag_context")

    def extract_iam_action(service, *request):
        action = find_action(service, *request)
        same = "redshift-data:GetStatementResult"
        return same if action == f"{same}V2" else action

    def extract_resource_arn(service, *request):
        if service != _SERVICE:
            return find_arn(service, *request)
        # pylint: disable-next=unbalanced-tuple-unpacking
        body, _, region, account = request[-4:]
        name = json.loads(body or b"{}").get("WorkgroupName")
        found = redshift_serverless.workgroup(account, region, name) if name else None
        return found["workgroupArn"] if found else "*"

    def request_tag_context(service, action, body, parameters):
        context = find_context(service, action, body, parameters)
        if service == _SERVICE:
            found = statements.find(str(json.loads(body or b"{}").get("Id", "")))
            if found:
                context[_OWNER_KEY] = found["userid"]
        return context

    conditions_met = hooks.original(iam_evaluator, "_conditions_met")

    def with_variables(conditions: dict, context: iam_evaluator.EvalContext) -> bool:
        return conditions_met(_substituted(conditions, context), context)

    hooks.replace(iam_evaluator, "_conditions_met", with_variables)
    hooks.replace(iam_actions, "extract_iam_action", extract_iam_action)
    hooks.replace(iam_actions, "extract_resource_arn", extract_resource_arn)
    hooks.replace(iam_actions, "request_tag_context", request_tag_context)


def _substituted(value: Any, context: iam_evaluator.EvalContext) -> Any:
    """Return a policy's conditions with the values of its variables, such as ${aws:userid}."""
    if isinstance(value, dict):
        return {name: _substituted(one, context) for name, one in value.items()}
    if isinstance(value, list):
        return [_substituted(one, context) for one in value]
    if not isinstance(value, str):
        return value

    def resolve(variable: re.Match) -> str:
        found = iam_evaluator._resolve_condition_key(variable[1], context)
        return variable[0] if found is None else str(found)

    return re.sub(r"\$\{([^}*?$]+)\}", resolve, value)


def start(settings: Settings) -> None:
    """Start the warehouses; statements that a stop or a crash cut off are failed."""
    redshift_serverless.open_warehouses(settings)
    statements.begin(settings.url)


def stop() -> None:
    """Stop the warehouses; what still runs is rolled back, and failed at the next start."""
    statements.end()
    redshift_serverless.close_warehouses()


def check() -> None:
    """Raise an error where a warehouse does not answer."""
    redshift_serverless.check_warehouses()


# ---- operations ---------------------------------------------------------------------------------

_NOT_SIMULATED = {
    "ClusterIdentifier": "provisioned clusters are",
    "DbUser": "DbUser, which goes with provisioned clusters, is",
    "SessionId": "sessions are",
    "SessionKeepAliveSeconds": "sessions are",
}


def _execute(request: Request) -> dict:
    return _submit(request, [request.parameters["Sql"]], run_one)


def _batch_execute(request: Request) -> dict:
    if request.parameters.get("ExecutionMode") == "AUTO_COMMIT":
        raise ServiceError("ValidationException", "AUTO_COMMIT is not there in local AWS")
    return _submit(request, request.parameters["Sqls"], run_batch)


def _submit(request: Request, sqls: list[str], run: Callable[[dict], None]) -> dict:
    given = request.parameters
    database, user, roles = _target(request)
    if given.get("WithEvent"):
        raise ServiceError("ValidationException", "WithEvent is not there in local AWS")
    if any(not sql.strip() for sql in sqls):
        raise ServiceError("ValidationException", "SQL statement is empty.")
    identifier = str(uuid.uuid4())
    now = datetime.now(UTC)
    principal = request.principal()
    statement = statements.submit(
        {
            "id": identifier,
            "account": request.account,
            "region": request.region,
            "owner": _identity(request),
            "userid": principal.keys["aws:userid"] if principal else request.account,
            "workgroup": given["WorkgroupName"],
            "database": database,
            "user": user,
            "roles": roles,
            "secret": given.get("SecretArn"),
            "name": given.get("StatementName", ""),
            "token": given.get("ClientToken"),
            "sqls": sqls,
            "batch": run is run_batch,
            "parameters": {one["name"]: one["value"] for one in given.get("Parameters", [])},
            "format": given.get("ResultFormat", "JSON"),
            "status": "SUBMITTED",
            "created": now,
            "parts": [
                {"id": f"{identifier}:{number}", "sql": sql, "status": "SUBMITTED", "created": now}
                for number, sql in enumerate(sqls, 1)
            ],
        },
        run,
    )
    statements.wait(statement["id"], given.get("WaitTimeSeconds"))
    answer = {
        "Id": statement["id"],
        "CreatedAt": statement["created"],
        "Database": statement["database"],
        "WorkgroupName": statement["workgroup"],
        "DbUser": statement["user"],
        "SecretArn": statement["secret"],
    }
    if "WaitTimeSeconds" in given:
        answer |= {"Status": statement["status"], "HasResultSet": _has_result(statement)}
    return _without_nothing(answer)


def _target(request: Request) -> tuple[str, str, list[str]]:
    """Return the database, its user and that user's roles, or raise the errors of AWS."""
    given = request.parameters
    for name, what in _NOT_SIMULATED.items():
        if given.get(name) is not None:
            raise ServiceError("ValidationException", f"{what} not there in local AWS")
    if not given.get("WorkgroupName"):
        raise ServiceError(
            "ValidationException",
            "Either ClusterIdentifier or WorkgroupName needs to be specified.",
        )
    found = redshift_serverless.workgroup(request.account, request.region, given["WorkgroupName"])
    if found is None:
        raise ServiceError("ValidationException", "Redshift endpoint doesn't exist in this region.")
    if not given.get("Database"):
        raise ServiceError("ValidationException", "Database needs to be specified.")
    namespace = redshift_serverless.namespace_of(found)
    if given.get("SecretArn"):
        user, roles = _secret_user(request, namespace), []
    else:
        _require(request, "redshift-serverless:GetCredentials", found["workgroupArn"])
        user, roles = _identity(request), _roles(request)
    if given["Database"] not in redshift_serverless.server(namespace).databases():
        raise ServiceError(
            "ValidationException", f'FATAL: database "{given["Database"]}" does not exist'
        )
    return given["Database"], user, roles


def _identity(request: Request) -> str:
    """Return the database user that the caller maps to, which also owns its statements."""
    kind, _, name = request.caller.rpartition(":")[2].partition("/")
    if kind == "assumed-role":
        return f"IAMR:{name.partition('/')[0]}"
    return f"IAM:{name.rpartition('/')[2] or kind}"


def _roles(request: Request) -> list[str]:
    principal = request.principal()
    tag = principal.keys.get(f"aws:principaltag/{_ROLES_TAG.lower()}", "") if principal else ""
    # Names are separated by colons, and the system's own roles have one in them.
    return re.findall(r"sys:\w+|[^:]+", tag)


def _secret_user(request: Request, namespace: dict[str, Any]) -> str:
    """Return the user of the secret, whose password must be the administrator's."""
    arn = request.parameters["SecretArn"]
    _require(request, "secretsmanager:GetSecretValue", arn)
    with request_scope(request.account, request.region):
        content = secretsmanager.resolve_secret_string(arn)
    if content is None:
        raise ServiceError("ValidationException", f"The secret {arn} can't be found.")
    try:
        secret = json.loads(content)
        user, password = secret["username"], secret["password"]
    except (ValueError, KeyError, TypeError) as error:
        raise ServiceError(
            "ValidationException", f"The secret {arn} has no username and password as JSON."
        ) from error
    expected = redshift_serverless.administrator_password(namespace)
    if (user, password) != (namespace["adminUsername"], expected):
        raise ServiceError(
            "ValidationException", f'FATAL: password authentication failed for user "{user}"'
        )
    return user


def _require(request: Request, action: str, resource: str) -> None:
    """Raise AccessDeniedException unless the caller may also do this."""
    if not request.access_key:
        return  # a call within the server; who makes it has authorized it
    service = action.partition(":")[0]
    denied = iam_evaluator.enforce(
        request.access_key, action, service, request.region, resource_arn=resource
    )
    if denied:
        raise ServiceError(
            "AccessDeniedException",
            f"User: {request.caller} is not authorized to perform: {action} on resource: "
            f"{resource} because no identity-based policy allows the {action} action",
        )


def _owned(request: Request) -> dict[str, Any]:
    """Return the statement that the request names, if it is the caller's."""
    identifier = request.parameters["Id"]
    statements.wait(identifier, request.parameters.get("WaitTimeSeconds"))
    found = statements.find(identifier, request.account)
    if found is None or (found["owner"], found["region"]) != (_identity(request), request.region):
        raise ServiceError(
            "ResourceNotFoundException", "Query does not exist.", ResourceId=identifier
        )
    return found


def _part(request: Request, statement: dict[str, Any]) -> dict[str, Any]:
    """Return the part whose id the request has, else the last one."""
    number = request.parameters["Id"].partition(":")[2]
    if number and not 1 <= int(number) <= len(statement["parts"]):
        raise ServiceError(
            "ResourceNotFoundException",
            "Query does not exist.",
            ResourceId=request.parameters["Id"],
        )
    return statement["parts"][int(number) - 1 if number else -1]


def _describe(request: Request) -> dict:
    statement = _owned(request)
    parts = statement["parts"]
    last = _part(request, statement)
    shown: dict[str, Any] = {
        "Id": request.parameters["Id"],
        "Status": statement["status"],
        "Error": statement.get("error"),
        "Duration": statement.get("duration", 0),
        "CreatedAt": statement["created"],
        "UpdatedAt": statement["updated"],
        "Database": statement["database"],
        "DbUser": statement["user"],
        "SecretArn": statement["secret"],
        "WorkgroupName": statement["workgroup"],
        "HasResultSet": _has_result(statement),
        "QueryString": None if statement["batch"] else statement["sqls"][0],
        "RedshiftPid": statement.get("pid", 0),
        "RedshiftQueryId": -1 if statement["batch"] else 0,
        "ResultRows": -1 if statement["batch"] else last.get("rows", -1),
        "ResultSize": -1 if statement["batch"] else last.get("size", -1),
        "ResultFormat": statement["format"],
        "QueryParameters": _shown_parameters(statement),
        "SubStatements": [_shown_part(part) for part in parts] if statement["batch"] else None,
    }
    return _without_nothing(shown)


def _shown_part(part: dict[str, Any]) -> dict:
    return _without_nothing(
        {
            "Id": part["id"],
            "Status": part["status"],
            "Error": part.get("error"),
            "Duration": part.get("duration", -1),
            "CreatedAt": part["created"],
            "UpdatedAt": part.get("updated", part["created"]),
            "QueryString": part["sql"],
            "RedshiftQueryId": 0,
            "ResultRows": part.get("rows", -1),
            "ResultSize": part.get("size", -1),
            "HasResultSet": part.get("has_result", False),
        }
    )


def _has_result(statement: dict[str, Any]) -> bool:
    return any(part.get("has_result") for part in statement["parts"])


def _shown_parameters(statement: dict[str, Any]) -> list[dict] | None:
    shown = [{"name": name, "value": value} for name, value in statement["parameters"].items()]
    return shown or None


def _get_result(request: Request) -> dict:
    statement, part, page, rest = _result_page(request)
    if statement["format"] != "JSON":
        raise ServiceError(
            "ValidationException", "The result is in CSV format: use GetStatementResultV2."
        )
    return {
        "Records": page,
        "ColumnMetadata": part["columns"],
        "TotalNumRows": part["rows"],
        **rest,
    }


def _get_result_v2(request: Request) -> dict:
    statement, part, page, rest = _result_page(request)
    if statement["format"] != "CSV":
        raise ServiceError(
            "ValidationException", "The result is in JSON format: use GetStatementResult."
        )
    lines = [_csv_line([column["name"] for column in part["columns"]])]
    for record in page:
        lines.append(_csv_line([_plain(field) for field in record]))
    return {
        "Records": [{"CSVRecords": "".join(lines)}],
        "ColumnMetadata": part["columns"],
        "TotalNumRows": part["rows"],
        "ResultFormat": "CSV",
        **rest,
    }


def _plain(field: dict[str, Any]) -> str:
    ((kind, value),) = field.items()
    if kind == "isNull":
        return ""
    return str(value).lower() if kind == "booleanValue" else str(value)


def _csv_line(values: list[str]) -> str:
    quoted = [
        '"' + value.replace('"', '""') + '"' if any(c in value for c in ',"\r\n') else value
        for value in values
    ]
    return ",".join(quoted) + "\r\n"


def _result_page(request: Request) -> tuple[dict, dict, list, dict]:
    """Return the statement, its part, one page of the part's records and the next page's token."""
    statement = _owned(request)
    part = _part(request, statement)
    if statement["status"] != "FINISHED" or not part.get("has_result"):
        raise ServiceError("ResourceNotFoundException", _NO_RESULT, ResourceId=statement["id"])
    token = request.parameters.get("NextToken") or "0"
    if not token.isdecimal() or int(token) >= max(part["pages"], 1):
        raise ServiceError("ValidationException", "Invalid NextToken.")
    number = int(token)
    stored = redshift_serverless.store().get(
        PAGE, request.account, request.region, f"{statement['id']}/{part['id']}/{number}"
    )
    rest = {"NextToken": str(number + 1)} if number + 1 < part["pages"] else {}
    return statement, part, stored["records"] if stored else [], rest


def _cancel(request: Request) -> dict:
    statement = _owned(request)
    if statement["status"] in ENDED:
        raise ServiceError(
            "ValidationException",
            f"Could not cancel a query that is already in {statement['status']} state, or a query "
            "that does not exist.",
        )
    return {"Status": statements.cancel(statement)}


def _list(request: Request) -> dict:
    given = request.parameters
    status = given.get("Status", "FINISHED")  # as AWS documents it
    name = given.get("StatementName", "")
    principal = request.principal()
    mine = principal.keys["aws:userid"] if principal else request.account
    found = [
        one
        for one in statements.all(request.account, request.region)
        if one["owner"] == _identity(request)
        and (given.get("RoleLevel", True) or one["userid"] == mine)
        and status in ("ALL", one["status"])
        and one["name"].startswith(name)
        and given.get("WorkgroupName") in (None, one["workgroup"])
        and given.get("Database") in (None, one["database"])
    ]
    size = given.get("MaxResults") or 100
    begin = int(given.get("NextToken") or 0)
    rest = {"NextToken": str(begin + size)} if begin + size < len(found) else {}
    return {"Statements": [_listed(one) for one in found[begin : begin + size]], **rest}


def _listed(statement: dict[str, Any]) -> dict:
    batch = statement["batch"]
    return _without_nothing(
        {
            "Id": statement["id"],
            "Status": statement["status"],
            "StatementName": statement["name"] or None,
            "CreatedAt": statement["created"],
            "UpdatedAt": statement["updated"],
            "IsBatchStatement": batch,
            "QueryString": None if batch else statement["sqls"][0],
            "QueryStrings": statement["sqls"] if batch else None,
            "QueryParameters": _shown_parameters(statement),
            "ResultFormat": statement["format"],
            "SecretArn": statement["secret"],
        }
    )


def _without_nothing(answer: dict) -> dict:
    return {key: value for key, value in answer.items() if value is not None}


# ---- the catalogue ------------------------------------------------------------------------------

_HIDDEN = (
    "n.nspname NOT IN ('redshift_catalog', 'pg_toast') AND n.nspname NOT LIKE 'pg\\_%%temp\\_%%'"
)


def _list_databases(request: Request) -> dict:
    return _listing(
        request,
        "Databases",
        "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' "
        "ORDER BY datname",
        lambda row: row[0],
    )


def _list_schemas(request: Request) -> dict:
    return _listing(
        request,
        "Schemas",
        f"SELECT n.nspname FROM pg_namespace AS n WHERE {_HIDDEN} "
        "AND n.nspname LIKE %(schema)s ORDER BY 1",
        lambda row: row[0],
    )


def _list_tables(request: Request) -> dict:
    return _listing(
        request,
        "Tables",
        "SELECT c.relname, CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, n.nspname "
        "FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        f"WHERE c.relkind IN ('r', 'p', 'v') AND {_HIDDEN} AND n.nspname LIKE %(schema)s "
        "AND c.relname LIKE %(table)s ORDER BY n.nspname, c.relname",
        lambda row: {"name": row[0], "type": row[1], "schema": row[2]},
    )


def _describe_table(request: Request) -> dict:
    given = request.parameters
    answer = _listing(
        request,
        "ColumnList",
        "SELECT c.relname, n.nspname, a.attname, a.atttypid::int, a.atttypmod, a.attnotnull, "
        "pg_get_expr(d.adbin, d.adrelid) FROM pg_class AS c "
        "JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
        "LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum "
        f"WHERE c.relkind IN ('r', 'p', 'v') AND {_HIDDEN} AND n.nspname LIKE %(schema)s "
        "AND c.relname LIKE %(table)s ORDER BY n.nspname, c.relname, a.attnum",
        _table_column,
    )
    if not answer["ColumnList"]:
        table = given.get("Table", "")
        raise ServiceError(
            "ResourceNotFoundException", f"Table {table} does not exist.", ResourceId=table
        )
    return {"TableName": given.get("Table"), **answer}


def _table_column(row: tuple) -> dict:
    table, schema, name, kind, modifier, required, default = row
    length = modifier - 4 if modifier >= 4 else 0
    precision, scale = (length >> 16, length & 0x7FF) if kind == 1700 else (0, 0)
    return _without_nothing(
        {
            "name": name,
            "label": name,
            "typeName": TYPES.get(kind, "varchar"),
            "length": precision or length,
            "precision": precision or length or PRECISIONS.get(kind, 0),
            "scale": scale,
            "nullable": 0 if required else 1,
            "isCaseSensitive": False,
            "isCurrency": False,
            "isSigned": kind in INTEGERS | FLOATS | {1700},
            "tableName": table,
            "schemaName": schema,
            "columnDefault": default,
        }
    )


def _listing(request: Request, key: str, query: str, shown: Callable[[tuple], Any]) -> dict:
    """Return one page of what a query of the catalogue finds, as the caller's database user."""
    given = request.parameters
    if key == "Databases":
        request.parameters.setdefault("Database", "dev")
    database, user, roles = _target(request)
    values = {
        "schema": given.get("SchemaPattern") or given.get("Schema") or "%",
        "table": given.get("TablePattern") or given.get("Table") or "%",
    }
    task = {
        "statement": {
            "account": request.account,
            "region": request.region,
            "workgroup": given["WorkgroupName"],
            "database": given.get("ConnectedDatabase") or database,
            "user": user,
            "roles": roles,
        },
        "cancelled": False,
    }
    with connect(task) as connection:
        found = [shown(row) for row in connection.execute(query, values).fetchall()]
    size = given.get("MaxResults") or 1000
    begin = int(given.get("NextToken") or 0)
    rest = {"NextToken": str(begin + size)} if begin + size < len(found) else {}
    return {key: found[begin : begin + size], **rest}


_OPERATIONS = {
    "ExecuteStatement": _execute,
    "BatchExecuteStatement": _batch_execute,
    "DescribeStatement": _describe,
    "GetStatementResult": _get_result,
    "GetStatementResultV2": _get_result_v2,
    "CancelStatement": _cancel,
    "ListStatements": _list,
    "ListDatabases": _list_databases,
    "ListSchemas": _list_schemas,
    "ListTables": _list_tables,
    "DescribeTable": _describe_table,
}
