import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch

# how long an example takes says what else the machine does
hypothesis.settings.register_profile("ours", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("ours")
sys.path.insert(0, str(Path(__file__).parent))  # helpers that several rooms share
torch.set_num_threads(1)
# what `datasets` unpacks of fixtures goes with the tests, and not into the user's cache
DATASETS = tempfile.TemporaryDirectory(prefix="zppo-datasets-", ignore_cleanup_errors=True)
os.environ["HF_DATASETS_CACHE"] = DATASETS.name

# these first: the last ones to run are short, and both workers end together
LONG = ("scale", "e2e", "reliability", "eval_suite", "store")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from by_file import ByFile

    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    room = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: room.get(item.path.parent.name, len(room)))


@pytest.fixture(scope="session")
def warm_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A program in the place of `sys.executable`, for a test that starts flows."""
    from warm_python import WarmPython

    python = WarmPython(tmp_path_factory.mktemp("warm"))
    yield python.path
    python.close()


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
