"""The server that the tests of fetching talk to."""

import threading
from collections.abc import Iterator

import pytest

from tests.networks.site import Handler, Server, Site


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "*")
    site = Site()
    server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"site": site}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}/models/net%201.onnx"
    yield site
    site.over.set()
    server.shutdown()
    thread.join()
    server.server_close()
