"""What vLLM is told before it opens a socket, seen by a stand-in for it."""

from __future__ import annotations

import contextlib
import os
from types import SimpleNamespace

import pytest
from vllm_stand_in import SeenError, stand_in

from zppo_core.engines.vllm import VllmEngine
from zppo_core.processes.loopback import ADDRESS, INTERFACE, LOOPBACK, on_loopback


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    variables: dict[str, str] = {}

    def start(**settings: object) -> None:
        variables.update(os.environ)
        raise SeenError

    stand_in(monkeypatch, start, on_cpu=True)
    return variables


@pytest.mark.parametrize("transport", ["memory", "file"])
def test_vllm_opens_its_sockets_on_this_host_alone(seen, monkeypatch, transport) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    monkeypatch.setenv("VLLM_HOST_IP", "10.1.2.3")
    monkeypatch.delenv("NCCL_SOCKET_IFNAME", raising=False)
    monkeypatch.setattr("zppo_core.engines.vllm.weights_identity", lambda folder: "name")
    with pytest.raises(SeenError):
        VllmEngine("/no/model", SimpleNamespace(), transport=transport)  # type: ignore[arg-type]
    assert {name: seen[name] for name in LOOPBACK} == LOOPBACK
    assert (seen["GLOO_SOCKET_IFNAME"], seen["VLLM_HOST_IP"]) == (INTERFACE, ADDRESS)
    # ranks over several hosts, in this process, still need the network
    assert os.environ["GLOO_SOCKET_IFNAME"] == "eth7"
    assert "NCCL_SOCKET_IFNAME" not in os.environ


def test_the_variables_are_as_before_after_a_fault(monkeypatch) -> None:
    monkeypatch.setenv("VLLM_HOST_IP", "10.1.2.3")
    before = dict(os.environ)
    inside = []
    with contextlib.suppress(ZeroDivisionError), on_loopback():
        inside.append(os.environ["VLLM_HOST_IP"])
        raise ZeroDivisionError
    assert inside == [ADDRESS]
    assert dict(os.environ) == before
