"""The bytes of attachments for an export: presigned links, or files. Knows the bucket's keys, no table."""

from pathlib import Path
from typing import Any

from lambda_src.store import keys
from lambda_src.store.ports import Record


def objects_of(s3: Any, bucket: str, user_id: str, attachment_id: str) -> list[str]:  # noqa: ANN401 - boto3's client
    """Keys of an attachment's bytes."""
    prefix = keys.attachment_objects(user_id, attachment_id)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def with_links(record: Record, s3: Any, bucket: str, *, valid_s: int) -> Record:  # noqa: ANN401 - boto3's client
    """An attachment's record with `links` that are valid for `valid_s` seconds; any other as it is."""
    if record["kind"] != "attachment":
        return record
    links = [
        s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=valid_s)
        for key in objects_of(s3, bucket, record["user"], record["id"])
    ]
    return {**record, "links": links}


def with_files(record: Record, s3: Any, bucket: str, *, folder: Path) -> Record:  # noqa: ANN401 - boto3's client
    """An attachment's record with `files`: where its bytes were written, below `folder`; any other as it is."""
    if record["kind"] != "attachment":
        return record
    names = []
    for key in objects_of(s3, bucket, record["user"], record["id"]):
        name = keys.object_segment(record["id"]) + "-" + key.rpartition("/")[2]
        folder.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, key, str(folder / name))
        names.append(name)
    return {**record, "files": names}
