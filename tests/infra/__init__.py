"""Tests of infra/. Importing it first, before any test's `import aws_cdk`, names the Node that CDK is to run on."""

import infra  # noqa: F401 - for what its import does
