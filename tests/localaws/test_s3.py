"""S3's events, and its answers to Spark's S3A, which speaks plain HTTP here."""

import json

import botocore.config
import botocore.exceptions
import pytest
from localaws.settings import S3_FAULTS


@pytest.mark.parametrize(
    ("agent", "shown"), [("Hadoop 3.3.1, aws-sdk-java/1.11.901", False), ("Boto3/1.43", True)]
)
def test_s3a_copies_encrypted_objects_as_their_bucket_says(local_aws, agent, shown):
    session = local_aws.session("prod")
    s3 = session.client("s3", config=botocore.config.Config(user_agent=agent))
    s3.create_bucket(Bucket="encrypted")
    key = session.client("kms").create_key()["KeyMetadata"]["Arn"]
    s3.put_object(
        Bucket="encrypted", Key="a", Body=b"1", ServerSideEncryption="aws:kms", SSEKMSKeyId=key
    )
    head = s3.head_object(Bucket="encrypted", Key="a")
    assert (head.get("ServerSideEncryption") == "aws:kms") is shown
    assert (head.get("SSEKMSKeyId") == key) is shown


@pytest.mark.parametrize("algorithm", ["aws:kms", "AES256"])
def test_under_kms_an_etag_is_no_hash_of_the_content(local_aws, algorithm):
    s3 = local_aws.session("prod").client("s3")
    bucket = f"etags-{algorithm.replace(':', '-').lower()}"
    s3.create_bucket(Bucket=bucket)
    key = local_aws.session("prod").client("kms").create_key()["KeyMetadata"]["Arn"]
    default = {"SSEAlgorithm": algorithm}
    if algorithm == "aws:kms":
        default["KMSMasterKeyID"] = key
    s3.put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": default}]
        },
    )
    puts = [
        s3.put_object(Bucket=bucket, Key="a", Body=b"1", ChecksumAlgorithm="SHA256")
        for _ in range(2)
    ]
    head = s3.head_object(Bucket=bucket, Key="a", ChecksumMode="ENABLED")
    assert (puts[0]["ETag"] != puts[1]["ETag"]) is (algorithm == "aws:kms")
    assert head["ETag"] == puts[1]["ETag"]
    assert puts[0]["ChecksumSHA256"] == puts[1]["ChecksumSHA256"] == head["ChecksumSHA256"]


@pytest.mark.parametrize("versioning", ["Enabled", None])
def test_an_event_names_the_version_of_its_object(local_aws, versioning):
    session = local_aws.session("prod")
    s3, sqs, events = (session.client(service) for service in ("s3", "sqs", "events"))
    bucket = f"events-{versioning or 'unversioned'}".lower()
    s3.create_bucket(Bucket=bucket)
    if versioning:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": versioning})
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    queue = sqs.create_queue(QueueName=bucket)["QueueUrl"]
    events.put_rule(
        Name=bucket,
        EventPattern=json.dumps({"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}}),
    )
    arn = f"arn:aws:sqs:us-east-1:444444444444:{bucket}"
    events.put_targets(Rule=bucket, Targets=[{"Id": "queue", "Arn": arn}])

    version = s3.put_object(Bucket=bucket, Key="a b.csv", Body=b"1").get("VersionId")

    message = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=10)["Messages"][0]
    created = json.loads(message["Body"])["detail"]["object"]
    assert created["key"] == "a b.csv"
    assert created.get("version-id") == version


@pytest.mark.parametrize("answer", ["503 SlowDown", "500 InternalError"])
def test_while_it_is_told_to_s3_turns_every_few_requests_away(local_aws, answer):
    # GIVEN a client that tries once
    once = botocore.config.Config(retries={"total_max_attempts": 1})
    s3 = local_aws.session("prod").client("s3", config=once)
    faults = local_aws.home / S3_FAULTS
    faults.write_text(f"every 3: {answer}\n", encoding="utf-8")
    # WHEN it asks six times, THEN two requests fail, with S3's own words
    said = []
    try:
        for _ in range(6):
            try:
                s3.list_buckets()
            except botocore.exceptions.ClientError as error:
                response = error.response
                code = response["Error"]["Code"]
                said.append(f"{response['ResponseMetadata']['HTTPStatusCode']} {code}")
    finally:
        faults.unlink()
    assert said == [answer, answer]
    # AND afterwards none
    for _ in range(6):
        s3.list_buckets()
