"""Buckets that tests share an account with, and must not leave behind."""


def remove_bucket(s3, bucket: str) -> None:
    """Delete a bucket with every version in it; there may be none."""
    if bucket not in [found["Name"] for found in s3.list_buckets()["Buckets"]]:
        return
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for item in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
            s3.delete_object(Bucket=bucket, Key=item["Key"], VersionId=item["VersionId"])
    s3.delete_bucket(Bucket=bucket)
