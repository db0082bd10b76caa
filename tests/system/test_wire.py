"""Messages between processes: what is received is worth what was sent, to the bit of whatever is computed with it."""

from __future__ import annotations

import socket
from typing import cast

import pytest
import torch

from unlearnbench.system import wire

ALIGNED = 64  # bytes, of torch's own memory


@pytest.mark.parametrize("longer", range(8))
def test_received_tensors_are_aligned_as_torch_aligns_its_own(longer: int) -> None:
    ours, theirs = socket.socketpair()
    sent = {"a": torch.arange(3.0), "b": torch.arange(5).to(torch.uint8), "c": torch.arange(7.0).double()}
    with ours, theirs:
        wire.send(ours, {"text": "x" * longer}, {f"{'y' * longer}{name}": value for name, value in sent.items()})
        _, received = wire.receive(theirs, 1 << 20)
    assert [value.data_ptr() % ALIGNED for value in received.values()] == [0, 0, 0]
    assert all(torch.equal(received[f"{'y' * longer}{name}"], value) for name, value in sent.items())


def test_received_tensors_come_in_the_order_in_which_they_were_sent() -> None:
    ours, theirs = socket.socketpair()
    sent = {f"n{number * 7 % 11}": torch.zeros(number) for number in range(11)}
    with ours, theirs:
        for _ in range(5):  # safetensors has another order each time
            wire.send(ours, {}, sent)
            assert list(wire.receive(theirs, 1 << 20)[1]) == list(sent)


def test_a_message_without_tensors_is_sent_at_once_for_its_answer_may_be_the_other_sides_last() -> None:
    class Stream:
        sent = 0

        def sendall(self, _: bytes) -> None:
            self.sent += 1
            if self.sent > 1:
                raise BrokenPipeError

    wire.send(cast(socket.socket, Stream()), {"ask": "end"})
