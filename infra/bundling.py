"""stub"""
from infra.errors import BundleError
def build(root, *, environ):
    raise BundleError("not yet")
