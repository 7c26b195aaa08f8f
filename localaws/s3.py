"""S3's events with the object's version, and S3 as Spark's S3A can use it without TLS."""

# pylint: disable=protected-access
import contextvars
import json

from ministack.services import eventbridge, s3

from localaws import hooks

_ENCRYPTION = "x-amz-server-side-encryption"
_version: contextvars.ContextVar[str | None] = contextvars.ContextVar("version", default=None)


def register() -> None:
    """Hook into ministack's S3 and the events that it sends to EventBridge."""
    hooks.replace(s3, "handle_request", _hiding_encryption_from_s3a(s3.handle_request))
    hooks.replace(s3, "_fire_s3_event", _remembering_version(s3._fire_s3_event))
    hooks.replace(eventbridge, "_dispatch_event", _naming_version(eventbridge._dispatch_event))


def _hiding_encryption_from_s3a(handle):
    """Keep from S3A how an object is encrypted.

    S3A renames by copying and asks for the source's encryption and key for the copy, which Java's
    SDK refuses to send without TLS. Asked for nothing, S3 applies the bucket's default, which is
    the same.
    """

    async def handle_request(method: str, path: str, headers: dict, *request, **options):
        status, answer, body = await handle(method, path, headers, *request, **options)
        if headers.get("user-agent", "").startswith("Hadoop"):
            answer = {
                name: value
                for name, value in answer.items()
                if not name.lower().startswith(_ENCRYPTION)
            }
        return status, answer, body

    return handle_request


def _remembering_version(fire):
    def fire_s3_event(*event, version_id: str | None = None, **options) -> None:
        token = _version.set(version_id)
        try:
            fire(*event, version_id=version_id, **options)
        finally:
            _version.reset(token)

    return fire_s3_event


def _naming_version(dispatch):
    """Name the object's version in S3's events, as AWS does for a versioned bucket."""

    def dispatch_event(event: dict, view=None):
        version = _version.get()
        if version and event["Source"] == "aws.s3":
            detail = json.loads(event["Detail"])
            detail["object"]["version-id"] = version
            event = {**event, "Detail": json.dumps(detail)}
        return dispatch(event, view)

    return dispatch_event
