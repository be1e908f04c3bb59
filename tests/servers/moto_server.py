"""Runs moto's server on a port, made to check presigned URLs, too: `python moto_server.py PORT`.

moto itself looks for a signature in the Authorization header only, and fails where there is none.
"""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from moto import server
from moto.iam import access_control
from moto.s3.exceptions import S3AccessDeniedError


class SignedRequest(access_control.S3IAMRequest):
    def __init__(self, *, headers: Mapping[str, str], path: str, **rest: Any) -> None:
        self._query = dict(parse_qsl(urlsplit(path).query))
        self._is_presigned = "X-Amz-Signature" in self._query
        if self._is_presigned:
            path = path.replace(f"&X-Amz-Signature={self._query['X-Amz-Signature']}", "")
            named = (
                f"{name}={self._query[f'X-Amz-{name}']}"
                for name in ("Credential", "SignedHeaders", "Signature")
            )
            headers = {**headers, "Authorization": ", ".join(named)}
        elif "Authorization" not in headers:
            raise S3AccessDeniedError
        super().__init__(headers=dict(headers), path=path, **rest)

    def check_signature(self) -> None:
        super().check_signature()
        if self._is_presigned:
            signed_at = datetime.strptime(self._query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            if datetime.now(UTC) > signed_at + timedelta(seconds=int(self._query["X-Amz-Expires"])):
                raise S3AccessDeniedError

    def _create_auth(self, credentials: Any) -> S3SigV4Auth | S3SigV4QueryAuth:
        kind = S3SigV4QueryAuth if self._is_presigned else S3SigV4Auth
        return kind(credentials, self._service, self._region)

    def _create_aws_request(self) -> AWSRequest:
        if not self._is_presigned:
            return super()._create_aws_request()
        request = AWSRequest(method=self._method, url=self._path, headers={"Host": self._headers["Host"]})
        request.context["timestamp"] = self._query["X-Amz-Date"]
        return request


if __name__ == "__main__":
    access_control.S3IAMRequest = SignedRequest
    server.main(["--host", "127.0.0.1", "--port", sys.argv[1]])
