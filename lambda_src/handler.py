"""What Lambda's Handler setting names: `lambda_src.handler.handler`. Wrong settings end here, as an init error."""

import os

from lambda_src.composition.app import lambda_handler

handler = lambda_handler(os.environ)
