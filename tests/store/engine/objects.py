"""An S3 bucket in a dictionary, with the low-level client methods that our stores use."""

import hashlib
import io
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

PAGE = 1000  # S3's largest page


class Objects:
    """A bucket; `now` dates the objects that are put."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.kept: dict[str, tuple[bytes, dict[str, str], datetime]] = {}
        self.now = datetime.fromtimestamp(0, UTC)

    def put_object(self, *, Key: str, Body: bytes, **more: Any) -> dict[str, Any]:  # noqa: N803 - S3's own names
        """PutObject."""
        self.requests.append("PutObject")
        self.kept[Key] = (Body, more.get("Metadata", {}), self.now)
        return {"ETag": hashlib.sha256(Body).hexdigest()}

    def copy_object(self, *, Key: str, CopySource: dict[str, str], **_: object) -> dict[str, Any]:  # noqa: N803 - S3's own names
        """CopyObject, with new metadata."""
        self.requests.append("CopyObject")
        self.kept[Key] = (self._object("CopyObject", CopySource["Key"])[0], {}, self.now)
        return {}

    def get_object(self, *, Key: str, **_: object) -> dict[str, Any]:  # noqa: N803 - S3's own names
        """GetObject."""
        self.requests.append("GetObject")
        return {"Body": io.BytesIO(self._object("GetObject", Key)[0])}

    def head_object(self, *, Key: str, **_: object) -> dict[str, Any]:  # noqa: N803 - S3's own names
        """HeadObject."""
        self.requests.append("HeadObject")
        return {"Metadata": self._object("HeadObject", Key)[1]}

    def delete_object(self, *, Key: str, **_: object) -> dict[str, Any]:  # noqa: N803 - S3's own names
        """DeleteObject."""
        self.requests.append("DeleteObject")
        self.kept.pop(Key, None)
        return {}

    def delete_objects(self, *, Delete: dict[str, Any], **_: object) -> dict[str, Any]:  # noqa: N803 - S3's own names
        """DeleteObjects."""
        self.requests.append("DeleteObjects")
        for entry in Delete["Objects"]:
            self.kept.pop(entry["Key"], None)
        return {}

    def list_objects_v2(self, *, Prefix: str, StartAfter: str = "", **more: Any) -> dict[str, Any]:  # noqa: N803 - S3's own names
        """ListObjectsV2, in pages of a thousand."""
        self.requests.append("ListObjectsV2")
        after = more.get("ContinuationToken", StartAfter)
        names = [key for key in sorted(self.kept) if key.startswith(Prefix) and key > after]
        page = [{"Key": key, "LastModified": self.kept[key][2]} for key in names[:PAGE]]
        is_more = len(names) > PAGE
        return {"Contents": page, "IsTruncated": is_more} | (
            {"NextContinuationToken": names[PAGE - 1]} if is_more else {}
        )

    def _object(self, operation: str, key: str) -> tuple[bytes, dict[str, str], datetime]:
        if key not in self.kept:
            code = "404" if operation == "HeadObject" else "NoSuchKey"
            raise ClientError({"Error": {"Code": code, "Message": "no such key"}}, operation)
        return self.kept[key]
