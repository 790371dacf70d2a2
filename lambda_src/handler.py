"""The Lambda handler, `lambda_src.handler.handler`. Invalid settings raise here, as an init error."""

import os

from lambda_src.composition.app import lambda_handler

handler = lambda_handler(os.environ)
