"""The OpenAPI document held against the service: whatever it allows is answered, and as it says."""

from collections.abc import Iterator

import hypothesis
import pytest
from starlette.testclient import TestClient

schemathesis = pytest.importorskip("schemathesis")

from service.app import Config, create_app  # noqa: E402


@pytest.fixture(scope="module")
def checked(built, tmp_path_factory) -> Iterator[object]:
    """The schema of a running service."""
    import shutil

    store = shutil.copytree(built, tmp_path_factory.mktemp("checked") / "store")
    app = create_app(Config(store))
    with TestClient(app, base_url="http://localhost"):
        yield schemathesis.openapi.from_asgi("/v1/openapi.json", app)


schema = schemathesis.pytest.from_fixture("checked")


@schema.parametrize()
@hypothesis.settings(max_examples=25, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
def test_the_service_does_what_its_document_says(case):
    case.call_and_validate(headers={"host": "localhost"})
