"""An S3 server for the tests: moto, in its own process, checking keys, signatures and expiry."""

import json
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import requests
from botocore.config import Config

from tests.servers.process import ServerProcess, free_port, make_folder

_REGION = "us-east-1"


@dataclass(frozen=True)
class S3Server:
    """A server with one bucket and one access key that may do anything with it."""

    endpoint: str
    bucket: str
    access_key_id: str
    secret_access_key: str

    @property
    def options(self) -> dict[str, str]:
        """What `Settings.storage_options` needs."""
        return {
            "endpoint": self.endpoint,
            "region": _REGION,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
        }


@contextmanager
def running_s3() -> Iterator[S3Server]:
    """A server of our own, gone afterwards."""
    folder = make_folder("s3")
    try:
        process, endpoint = _start(folder)
        try:
            yield _prepare(endpoint)
        finally:
            process.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path) -> tuple[ServerProcess, str]:
    port = free_port()
    process = ServerProcess(
        [sys.executable, "-P", Path(__file__).with_name("moto_server.py"), str(port)],
        folder=folder,
        stop_signal="TERM",
        environment={"TMPDIR": str(folder)},
    )
    process.wait_until(lambda: _listens(port))
    return process, f"http://127.0.0.1:{port}"


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def _prepare(endpoint: str) -> S3Server:
    """Make the bucket and the key; from then on every call is checked."""
    session = boto3.session.Session("any", "any", region_name=_REGION)
    config = Config(s3={"addressing_style": "path"}, proxies={})
    session.client("s3", endpoint_url=endpoint, config=config).create_bucket(Bucket="mediakeep")
    iam = session.client("iam", endpoint_url=endpoint, config=config)
    iam.create_user(UserName="mediakeep")
    allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="mediakeep", PolicyName="all", PolicyDocument=policy)
    key = iam.create_access_key(UserName="mediakeep")["AccessKey"]
    requests.post(f"{endpoint}/moto-api/reset-auth", data=b"0", timeout=10).raise_for_status()
    return S3Server(endpoint, "mediakeep", key["AccessKeyId"], key["SecretAccessKey"])
