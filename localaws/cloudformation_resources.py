"""The resource types whose properties ministack's CloudFormation drops, overwrites or lacks."""

# pylint: disable=protected-access
import json
import time
from collections.abc import Callable

import botocore.serialize
import botocore.session
import botocore.validate
from ministack import app
from ministack.core.responses import get_account_id, get_region
from ministack.services import (
    cloudwatch,
    cloudwatch_logs,
    eventbridge,
    glue,
    iam,
    lambda_svc,
    s3,
    sns,
    sqs,
)
from ministack.services import stepfunctions
from ministack.services.cloudformation import provisioners, stacks

from localaws import hooks
from localaws.cloudformation_properties import REPLACING, TAGGED

Properties = dict
Handlers = dict[str, Callable]

_AVAILABLE_SECONDS = 60


class ResourceError(ValueError):
    """A service refused what a template asks of it; the reason of the failed stack event."""


def register() -> None:
    """Replace or complete the handlers of the types that need it."""
    for table, additions in (
        (provisioners._REPLACING_PROPERTIES, REPLACING),
        (provisioners._STACK_TAG_PROPERTY, TAGGED),
    ):
        for type_, value in additions.items():
            hooks.add(table, type_, value)
    types = hooks.original(provisioners, "_RESOURCE_HANDLERS")
    for type_, own in _OWN.items():
        (hooks.replace if type_ in types else hooks.add)(types, type_, own)
    for type_, complete in _COMPLETE.items():
        hooks.replace(types, type_, _completed(hooks.original(types, type_), complete))
    for type_, (name, exists) in _NAMED.items():
        hooks.replace(types, type_, _refusing_existing(types[type_], name, exists))

    blocking = hooks.original(stacks, "_runs_on_worker_thread")
    hooks.replace(
        stacks,
        "_runs_on_worker_thread",
        lambda type_: type_.startswith("AWS::RedshiftServerless::") or blocking(type_),
    )


# ---- wrapping ministack's handlers ---------------------------------------------------------------


def _completed(handlers: Handlers, complete: Callable[[str, Properties, Properties], None]):
    """Let ``complete(physical_id, old, new)`` add what the handlers leave out."""

    def create(logical_id: str, properties: Properties, stack_name: str):
        physical_id, attributes = handlers["create"](logical_id, properties, stack_name)
        try:
            complete(physical_id, {}, properties)
        except Exception:
            handlers["delete"](physical_id, properties)  # CloudFormation does not know of it yet
            raise
        return physical_id, attributes

    def change(old_id: str, old: Properties, new: Properties, *names: str):
        if not handlers.get("update_with_logical_id"):
            names = names[:1]
        physical_id, attributes = handlers["update"](old_id, old, new, *names)
        complete(physical_id, old, new)
        return physical_id, attributes

    def update(old_id: str, old: Properties, new: Properties, stack_name: str, logical_id: str):
        try:
            return change(old_id, old, new, stack_name, logical_id)
        except Exception:
            # The rollback takes the resource that failed for unchanged, so no half may stay.
            change(old_id, new, old, stack_name, logical_id)
            raise

    return {**handlers, "create": create, "update": update, "update_with_logical_id": True}


def _refusing_existing(handlers: Handlers, name: str, exists: Callable[[str], bool]) -> Handlers:
    """Refuse to create over a resource of that name, which ministack would overwrite."""

    def create(logical_id: str, properties: Properties, stack_name: str):
        wanted = properties.get(name)
        if wanted and exists(wanted):
            raise ResourceError(f"{wanted} already exists")
        return handlers["create"](logical_id, properties, stack_name)

    return {**handlers, "create": create}


def _answer(response: tuple) -> dict:
    """Return the JSON body of a service's response, or raise ResourceError with its message."""
    status, _, body = response
    text = body.decode() if isinstance(body, bytes) else body or ""
    if status >= 400:
        try:
            error = json.loads(text)
            text = error.get("message") or error.get("Message") or text
        except json.JSONDecodeError:
            pass  # S3 answers in XML, which is readable as it is
        raise ResourceError(text)
    return json.loads(text) if text.startswith("{") else {}


def _initial_lower(value: object) -> object:
    """Spell property names as the JSON APIs do, all the way down: RoleArn -> roleArn."""
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: _initial_lower(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_initial_lower(item) for item in value]
    return value


# ---- S3 ------------------------------------------------------------------------------------------

_S3_MODEL = botocore.session.get_session().get_service_model("s3")
_S3_SERIALIZER = botocore.serialize.create_serializer("rest-xml")


def _s3_body(operation: str, **parameters) -> bytes:
    """Return the request body that an AWS SDK would send, checked against S3's model."""
    model = _S3_MODEL.operation_model(operation)
    parameters["Bucket"] = "unused"
    report = botocore.validate.ParamValidator().validate(parameters, model.input_shape)
    if report.has_errors():
        raise ResourceError(report.generate_report())
    return _S3_SERIALIZER.serialize_to_request(parameters, model)["body"]


def _encryption_body(encryption: dict) -> bytes:
    rules = [
        {
            "ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"],
            "BucketKeyEnabled": _boolean(rule.get("BucketKeyEnabled", False)),
        }
        for rule in encryption["ServerSideEncryptionConfiguration"]
    ]
    return _s3_body("PutBucketEncryption", ServerSideEncryptionConfiguration={"Rules": rules})


def _lifecycle_body(lifecycle: dict) -> bytes:
    rules = []
    for rule in lifecycle["Rules"]:
        # As CloudFormation does: a rule without a prefix is one for the whole bucket.
        translated: dict = {"Status": rule["Status"], "Filter": {"Prefix": rule.get("Prefix", "")}}
        if "Id" in rule:
            translated["ID"] = rule["Id"]
        if "ExpirationInDays" in rule:
            translated["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
        if "Transitions" in rule:
            translated["Transitions"] = [
                {"StorageClass": step["StorageClass"], "Days": int(step["TransitionInDays"])}
                for step in rule["Transitions"]
            ]
        for name in ("NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"):
            if name in rule:
                translated[name] = {key: int(value) for key, value in rule[name].items()}
        rules.append(translated)
    return _s3_body("PutBucketLifecycleConfiguration", LifecycleConfiguration={"Rules": rules})


def _boolean(value: object) -> bool:
    return str(value).lower() == "true"


_BUCKET_SETTINGS = {
    "BucketEncryption": (
        _encryption_body,
        s3._put_bucket_encryption,
        s3._delete_bucket_encryption,
    ),
    "LifecycleConfiguration": (
        _lifecycle_body,
        s3._put_bucket_lifecycle,
        s3._delete_bucket_lifecycle,
    ),
    "OwnershipControls": (
        lambda controls: _s3_body("PutBucketOwnershipControls", OwnershipControls=controls),
        s3._put_bucket_ownership_controls,
        s3._delete_bucket_ownership_controls,
    ),
    "Tags": (
        lambda tags: _s3_body("PutBucketTagging", Tagging={"TagSet": tags}),
        s3._put_bucket_tagging,
        s3._delete_bucket_tagging,
    ),
    "VersioningConfiguration": (
        lambda versioning: _s3_body("PutBucketVersioning", VersioningConfiguration=versioning),
        s3._put_bucket_versioning,
        # Versioning cannot be taken back, only suspended.
        lambda bucket: s3._put_bucket_versioning(
            bucket,
            _s3_body("PutBucketVersioning", VersioningConfiguration={"Status": "Suspended"}),
        ),
    ),
}


def _complete_bucket(bucket: str, old: Properties, new: Properties) -> None:
    for name, (body, put, delete) in _BUCKET_SETTINGS.items():
        if name in new:
            _answer(put(bucket, body(new[name])))
        elif name in old:
            _answer(delete(bucket))


def _delete_bucket(bucket: str, _properties: Properties) -> None:
    """Delete an empty bucket; as on AWS, one with objects or versions in it is refused."""
    if bucket in s3._buckets:
        _answer(s3._delete_bucket(bucket))


# ---- Lambda --------------------------------------------------------------------------------------


def _create_function(logical_id: str, properties: Properties, stack_name: str):
    """Create a function as the API does, which knows of missing code, layers and roles."""
    request = {key: value for key, value in properties.items() if key != "Tags"}
    request["Tags"] = provisioners._tag_map(properties.get("Tags"))
    request.setdefault("FunctionName", provisioners._physical_name(stack_name, logical_id))
    for number in ("MemorySize", "Timeout"):
        if number in request:
            request[number] = int(request[number])
    function = _answer(lambda_svc._create_function(request))
    return function["FunctionName"], {"Arn": function["FunctionArn"]}


def _complete_function(name: str, _old: Properties, _new: Properties) -> None:
    """End the time in which a function is pending: a stack is complete once it is over."""
    lambda_svc._functions[name]["config"].update(State="Active", LastUpdateStatus="Successful")


def _create_layer(logical_id: str, properties: Properties, stack_name: str):
    name = properties.get("LayerName") or provisioners._physical_name(stack_name, logical_id)
    layer = _answer(lambda_svc._publish_layer_version(name, dict(properties)))
    arn = layer["LayerVersionArn"]
    return arn, {"LayerVersionArn": arn}


# ---- Step Functions ------------------------------------------------------------------------------


def _state_machine_request(properties: Properties) -> dict:
    request = {
        "definition": provisioners._sfn_definition(properties),
        "roleArn": properties["RoleArn"],
        "loggingConfiguration": {"level": "OFF", "includeExecutionData": False},
        "tracingConfiguration": {"enabled": False},
    }
    for name in ("LoggingConfiguration", "TracingConfiguration"):
        if name in properties:
            request[name[0].lower() + name[1:]] = _initial_lower(properties[name])
    return request


def _create_state_machine(logical_id: str, properties: Properties, stack_name: str):
    name = properties.get("StateMachineName") or provisioners._physical_name(stack_name, logical_id)
    arn = f"arn:aws:states:{get_region()}:{get_account_id()}:stateMachine:{name}"
    if arn in stepfunctions._state_machines:
        raise ResourceError(f"{name} already exists")
    request = _state_machine_request(properties)
    _answer(
        stepfunctions._create_state_machine(
            {
                **request,
                "name": name,
                "type": properties.get("StateMachineType", "STANDARD"),
                "tags": _initial_lower(properties.get("Tags", [])),
            }
        )
    )
    return arn, _state_machine_attributes(arn)


def _update_state_machine(
    arn: str, old: Properties, new: Properties, _stack_name: str, _logical_id: str
):
    request = _state_machine_request(new)
    _answer(stepfunctions._update_state_machine({**request, "stateMachineArn": arn}))
    old_tags, new_tags = (_initial_lower(tagged.get("Tags", [])) for tagged in (old, new))
    dropped = {tag["key"] for tag in old_tags} - {tag["key"] for tag in new_tags}
    _answer(stepfunctions._untag_resource({"resourceArn": arn, "tagKeys": sorted(dropped)}))
    _answer(stepfunctions._tag_resource({"resourceArn": arn, "tags": new_tags}))
    return arn, _state_machine_attributes(arn)


def _state_machine_attributes(arn: str) -> dict:
    record = stepfunctions._state_machines[arn]
    return {
        "Arn": arn,
        "Name": record["name"],
        "StateMachineRevisionId": record["revisionId"],
    }


# ---- Glue, SNS -----------------------------------------------------------------------------------


def _complete_job(name: str, _old: Properties, new: Properties) -> None:
    """Keep the settings that ministack's jobs have no field for, AWS's defaults in their place."""
    job = glue._jobs[name]
    job["ExecutionClass"] = new.get("ExecutionClass", "STANDARD")
    job["ExecutionProperty"] = {
        "MaxConcurrentRuns": int(new.get("ExecutionProperty", {}).get("MaxConcurrentRuns", 1))
    }
    for number in ("MaxRetries", "NumberOfWorkers", "Timeout"):
        if number in new:
            job[number] = int(new[number])


def _complete_topic(arn: str, _old: Properties, new: Properties) -> None:
    attributes = sns._topics[arn]["attributes"]
    attributes.pop("KmsMasterKeyId", None)
    if "KmsMasterKeyId" in new:
        attributes["KmsMasterKeyId"] = new["KmsMasterKeyId"]


# ---- Redshift Serverless -------------------------------------------------------------------------


def _redshift(operation: str, **request) -> dict:
    """Call redshift-serverless as an SDK does, in this process."""
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": f"RedshiftServerless.{operation}",
    }
    handler = hooks.original(app.SERVICE_HANDLERS, "redshift-serverless")
    body = json.dumps(request).encode()
    return _answer(app.call_service_handler_sync(handler, "POST", "/", headers, body, {}))


def _redshift_handlers(kind: str, fixed: frozenset[str]) -> Handlers:
    """Return the handlers of a Namespace or a Workgroup; ``fixed`` can only be set at creation."""
    key, name_key = kind.lower(), f"{kind.lower()}Name"

    def available(name: str) -> dict:
        def status() -> bool:
            return _redshift(f"Get{kind}", **{name_key: name})[key]["status"] == "AVAILABLE"

        _wait(status)
        return _redshift(f"Get{kind}", **{name_key: name})[key]

    def attributes(name: str) -> dict:
        described = available(name)
        return {f"{kind}.{word[0].upper()}{word[1:]}": described[word] for word in described}

    def create(_logical_id: str, properties: Properties, _stack_name: str):
        request = _initial_lower(properties)
        _redshift(f"Create{kind}", **_typed(request))
        return request[name_key], attributes(request[name_key])

    def update(name: str, old: Properties, new: Properties, _stack_name: str, _logical_id: str):
        before, after = (_typed(_initial_lower(properties)) for properties in (old, new))
        changed = {key for key in before | after if before.get(key) != after.get(key)}
        if changed & fixed or changed - after.keys():
            raise ResourceError(
                f"AWS::RedshiftServerless::{kind} {name}: {', '.join(sorted(changed))} "
                "cannot be changed or taken back once it is there"
            )
        settings = {key: after[key] for key in changed - {"tags"}}
        if settings:
            _redshift(f"Update{kind}", **{name_key: name}, **settings)
        if "tags" in changed:
            arn = available(name)[f"{key}Arn"]
            dropped = {tag["key"] for tag in before.get("tags", [])}
            dropped -= {tag["key"] for tag in after["tags"]}
            if dropped:
                _redshift("UntagResource", resourceArn=arn, tagKeys=sorted(dropped))
            _redshift("TagResource", resourceArn=arn, tags=after["tags"])
        return name, attributes(name)

    def delete(name: str, _properties: Properties) -> None:
        _redshift(f"Delete{kind}", **{name_key: name})

    return {"create": create, "update": update, "update_with_logical_id": True, "delete": delete}


def _typed(request: dict) -> dict:
    """Give a template's numbers and booleans, which parameters make strings, their JSON types."""
    typed = dict(request)
    for name in {"baseCapacity", "maxCapacity"} & request.keys():
        typed[name] = int(request[name])
    for name in {
        "enhancedVpcRouting",
        "manageAdminPassword",
        "publiclyAccessible",
    } & request.keys():
        typed[name] = _boolean(request[name])
    return typed


def _wait(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + _AVAILABLE_SECONDS
    while not ready():
        if time.monotonic() > end:
            raise ResourceError(f"not ready after {_AVAILABLE_SECONDS} s")
        time.sleep(0.05)


# ---- which types get which -----------------------------------------------------------------------

_OWN: dict[str, Handlers] = {
    "AWS::RedshiftServerless::Namespace": _redshift_handlers("Namespace", frozenset({"dbName"})),
    "AWS::RedshiftServerless::Workgroup": _redshift_handlers("Workgroup", frozenset()),
    "AWS::S3::Bucket": {
        **provisioners._RESOURCE_HANDLERS["AWS::S3::Bucket"],
        "delete": _delete_bucket,
    },
    "AWS::Lambda::Function": {
        **provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"],
        "create": _create_function,
    },
    "AWS::Lambda::LayerVersion": {
        **provisioners._RESOURCE_HANDLERS["AWS::Lambda::LayerVersion"],
        "create": _create_layer,
    },
    "AWS::StepFunctions::StateMachine": {
        **provisioners._RESOURCE_HANDLERS["AWS::StepFunctions::StateMachine"],
        "create": _create_state_machine,
        "update": _update_state_machine,
    },
}

_COMPLETE: dict[str, Callable[[str, Properties, Properties], None]] = {
    "AWS::S3::Bucket": _complete_bucket,
    "AWS::Lambda::Function": _complete_function,
    "AWS::Glue::Job": _complete_job,
    "AWS::SNS::Topic": _complete_topic,
}

# The property that names a resource, and whether that name is taken.
_NAMED: dict[str, tuple[str, Callable[[str], bool]]] = {
    "AWS::CloudWatch::Alarm": ("AlarmName", lambda name: name in cloudwatch._alarms),
    "AWS::Events::Rule": (
        "Name",
        lambda name: eventbridge._rule_key(name, "default") in eventbridge._rules,
    ),
    "AWS::IAM::Role": ("RoleName", lambda name: name in iam._roles),
    "AWS::Logs::LogGroup": ("LogGroupName", lambda name: name in cloudwatch_logs._log_groups),
    "AWS::SNS::Topic": (
        "TopicName",
        lambda name: f"arn:aws:sns:{get_region()}:{get_account_id()}:{name}" in sns._topics,
    ),
    "AWS::SQS::Queue": ("QueueName", lambda name: name in sqs._queue_name_to_url),
}
