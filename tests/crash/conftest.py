"""Every crash test runs on each engine that MNEMIC_ENGINES names (sqlite,postgres unless told)."""

import os

import pytest

import harness


@pytest.fixture(scope="session")
def model():
    scripted = harness.ScriptedModel()
    yield scripted
    scripted.stop()


@pytest.fixture(params=os.environ.get("MNEMIC_ENGINES", "sqlite,postgres").split(","))
def engine(request):
    return request.param


@pytest.fixture
def server(engine, model):
    with harness.server(engine, model) as found:
        yield found
