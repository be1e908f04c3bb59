from dataclasses import replace

import asyncpg
import pytest
import requests
from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.servers.postgres import PostgresServer
from tests.servers.s3 import S3Server


async def test_postgres_gives_an_empty_database_with_the_extensions_we_use(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        await connection.execute("CREATE EXTENSION pg_trgm; CREATE EXTENSION btree_gin")
        assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
        assert await connection.fetchval("SELECT lower('ÄÖÜ')") == "äöü"
        assert (await connection.fetchval("SHOW server_version")).startswith("18.")
    finally:
        await connection.close()


async def test_a_database_can_be_a_copy_of_another(postgres_server: PostgresServer) -> None:
    original = await asyncpg.connect(postgres_server.create_database("original"))
    await original.execute("CREATE TABLE kept (id int); INSERT INTO kept VALUES (7)")
    await original.close()

    copy = await asyncpg.connect(postgres_server.create_database("copy", template="original"))
    assert await copy.fetchval("SELECT id FROM kept") == 7
    postgres_server.drop_database("copy")
    postgres_server.drop_database("original")

    with pytest.raises(asyncpg.PostgresConnectionError):
        await copy.fetchval("SELECT 1")


def test_s3_takes_the_key_it_gave(s3_server: S3Server) -> None:
    client = _client(s3_server)
    client.put_object(Bucket=s3_server.bucket, Key="a", Body=b"bytes")
    assert client.get_object(Bucket=s3_server.bucket, Key="a")["Body"].read() == b"bytes"


@pytest.mark.parametrize(
    ("part", "error"),
    [("secret_access_key", "SignatureDoesNotMatch"), ("access_key_id", "InvalidAccessKeyId")],
)
def test_s3_refuses_a_wrong_key(s3_server: S3Server, part: str, error: str) -> None:
    with pytest.raises(ClientError, match=error):
        _client(replace(s3_server, **{part: "wrong"})).list_objects_v2(Bucket=s3_server.bucket)


def test_s3_answers_a_presigned_address_until_it_expires_and_no_other(s3_server: S3Server) -> None:
    client = _client(s3_server)
    client.put_object(Bucket=s3_server.bucket, Key="signed", Body=b"bytes")
    object_ = {"Bucket": s3_server.bucket, "Key": "signed"}
    url = client.generate_presigned_url("get_object", Params=object_, ExpiresIn=60)
    expired = client.generate_presigned_url("get_object", Params=object_, ExpiresIn=-1)

    assert requests.get(url, timeout=10).content == b"bytes"
    assert requests.get(url.replace("Expires=60", "Expires=600"), timeout=10).status_code == 403
    assert requests.get(expired, timeout=10).status_code == 403
    assert requests.get(url.partition("?")[0], timeout=10).status_code == 403


def _client(server: S3Server):
    session = Session(server.access_key_id, server.secret_access_key, region_name="us-east-1")
    return session.client("s3", endpoint_url=server.endpoint, config=Config(signature_version="s3v4"))
