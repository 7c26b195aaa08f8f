"""S3 as AWS answers: object versions in events, checksums of puts, KMS ETags; S3A without TLS."""

# pylint: disable=protected-access
import contextvars
import json
import secrets

from ministack.services import eventbridge, s3

from localaws import hooks

_ENCRYPTION = "x-amz-server-side-encryption"
_encrypted: contextvars.ContextVar[bool] = contextvars.ContextVar("encrypted", default=False)
_version: contextvars.ContextVar[str | None] = contextvars.ContextVar("version", default=None)


def register() -> None:
    """Hook into ministack's S3 and the events that it sends to EventBridge."""
    hooks.replace(s3, "handle_request", _hiding_encryption_from_s3a(s3.handle_request))
    hooks.replace(
        s3, "_resolve_sse_write_headers", _remembering_encryption(s3._resolve_sse_write_headers)
    )
    hooks.replace(s3, "_build_object_record", _with_kms_etag(s3._build_object_record))
    hooks.replace(s3, "_put_object", _naming_checksums(s3._put_object))
    hooks.replace(s3, "_fire_s3_event", _remembering_version(s3._fire_s3_event))
    hooks.replace(eventbridge, "_dispatch_event", _naming_version(eventbridge._dispatch_event))


def _is_s3a(headers: dict) -> bool:
    return headers.get("user-agent", "").startswith("Hadoop")


def _hiding_encryption_from_s3a(handle):
    """Keep from S3A how an object is encrypted.

    S3A renames by copying and asks for the source's encryption and key for the copy, which Java's
    SDK refuses to send without TLS. Asked for nothing, S3 applies the bucket's default, which is
    the same.
    """

    async def handle_request(method: str, path: str, headers: dict, *request, **options):
        status, answer, body = await handle(method, path, headers, *request, **options)
        if _is_s3a(headers):
            answer = {
                name: value
                for name, value in answer.items()
                if not name.lower().startswith(_ENCRYPTION)
            }
        return status, answer, body

    return handle_request


def _remembering_encryption(resolve):
    def resolve_sse_write_headers(headers: dict, bucket: str):
        resolved, error = resolve(headers, bucket)
        encrypted = bool(resolved) and resolved.get(_ENCRYPTION) == "aws:kms"
        _encrypted.set(encrypted and not _is_s3a(headers))
        return resolved, error

    return resolve_sse_write_headers


def _with_kms_etag(build):
    """Give an object under SSE-KMS an ETag that says nothing of its content, as S3 does.

    Not where S3A puts it: told of no encryption, it takes the ETag for the content's MD5.
    """

    def build_object_record(body: bytes, headers: dict, etag: str | None = None, **options) -> dict:
        if _encrypted.get():
            etag = f'"{secrets.token_hex(16)}"'
        return build(body, headers, etag=etag, **options)

    return build_object_record


def _naming_checksums(put):
    """Give the checksums of an object with the answer to its put, as S3 does."""

    def put_object(bucket: str, key: str, body: bytes, headers: dict):
        status, answer, content = put(bucket, key, body, headers)
        if status == 200:
            for algorithm, value in s3._ensure_bucket(bucket)["objects"][key]["checksums"].items():
                answer[f"x-amz-checksum-{algorithm.lower()}"] = value
        return status, answer, content

    return put_object


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
