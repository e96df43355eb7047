"""A store on disk and one on a real S3 protocol server, for tests that must hold on both."""

from pathlib import Path

import pytest

from zppo_core.store.objects import LocalStore, open_store


@pytest.fixture(scope="module")
def s3_endpoint():
    """The address of a server on loopback with the bucket zppo-test; credentials are set."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        import boto3

        boto3.client("s3").create_bucket(Bucket="zppo-test")
        yield endpoint
    server.stop()


@pytest.fixture
def s3_url(s3_endpoint: str, request) -> str:
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    return f"s3://zppo-test/some/where/{name}"


@pytest.fixture(params=["local", "s3"])
def store(request, tmp_path: Path):
    if request.param == "local":
        return LocalStore(tmp_path / "store")
    return open_store(request.getfixturevalue("s3_url"))
