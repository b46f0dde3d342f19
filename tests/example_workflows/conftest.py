"""The real server, with what the twins of the example workflows need."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session")
def known(comfy_server: Any) -> Any:
    """The server's nodes; the stand-ins lie in its folders."""
    from t2i_adapter_pack.dev.demo.templates import twins

    return twins.prepare(comfy_server)
