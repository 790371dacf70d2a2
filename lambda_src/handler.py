"""The Lambda handler, `lambda_src.handler.handler`. Invalid settings raise here, as an init error."""

import os

from lambda_src.startup import lazy_packages

lazy_packages.install()  # first: the next import loads PyJWT, which loads more than tokens need

from lambda_src.composition.app import lambda_handler  # noqa: E402 - see above

handler = lambda_handler(os.environ)
