"""Tests of infra/. Importing `infra` before any test imports `aws_cdk` selects the Node that CDK runs on."""

import infra  # noqa: F401 - imported for its side effect
