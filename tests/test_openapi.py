"""The OpenAPI document held against the service: whatever is asked, by it or against it, is answered as it says."""

from contextlib import suppress

import hypothesis
import pytest

schemathesis = pytest.importorskip("schemathesis")

MODES = tuple(schemathesis.GenerationMode)
# Not that all is accepted which has the right form: what a title says counts, too.
schemathesis.checks.load_all_checks()
LEFT_OUT = [schemathesis.checks.CHECKS.get_one("positive_data_acceptance")]
# What is too long may be so long that nobody reads it.
REFUSED = {"checks": {"negative_data_rejection": {"expected-statuses": [400, 404, 405, 409, 413, 422]}}}


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_the_service_does_what_its_document_says(service, mode):
    config = schemathesis.config.SchemathesisConfig.from_dict(REFUSED)
    document = schemathesis.openapi.from_url(f"{service}/v1/openapi.json", config=config)
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) >= 10
    for operation in operations:

        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        @hypothesis.settings(max_examples=25, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
        def check(case):
            case.call_and_validate(excluded_checks=LEFT_OUT)

        with suppress(hypothesis.errors.Unsatisfiable):  # nothing can be wrong where nothing can be said
            check()
