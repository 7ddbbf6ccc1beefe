"""The OpenAPI document compared with the service: valid and invalid requests get the documented answers."""

from contextlib import suppress

import hypothesis
import pytest

pytestmark = pytest.mark.slow

schemathesis = pytest.importorskip("schemathesis")

MODES = tuple(schemathesis.GenerationMode)
# Well-formed requests may still be refused for their content, such as an empty title.
schemathesis.checks.load_all_checks()
LEFT_OUT = [schemathesis.checks.CHECKS.get_one("positive_data_acceptance")]
# A request that is too long may exceed the body limit (413) before it is validated.
REFUSED = {"checks": {"negative_data_rejection": {"expected-statuses": [400, 404, 405, 409, 413, 415, 422]}}}


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_the_service_follows_its_openapi_document(service, mode):
    config = schemathesis.config.SchemathesisConfig.from_dict(REFUSED)
    document = schemathesis.openapi.from_url(f"{service}/v1/openapi.json", config=config)
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) >= 10
    for operation in operations:

        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        @hypothesis.settings(max_examples=25, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
        def check(case):
            case.call_and_validate(excluded_checks=LEFT_OUT)

        with suppress(hypothesis.errors.Unsatisfiable):  # an operation without input has no invalid request
            check()
