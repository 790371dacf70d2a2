"""Before any suite is imported: the asserts of suites that live beside the code are rewritten like those in here."""

import pytest

pytest.register_assert_rewrite("lambda_src.dev.store_contract")
