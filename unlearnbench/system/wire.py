"""Messages between two processes that need not trust each other: JSON and tensors, never pickle."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

LONGEST_TEXT = 1 << 24  # bytes of JSON
_SIZES = struct.Struct(">QQ")
_CHUNK = 1 << 20


class WireError(Exception):
    """What arrived is not a message, or is longer than allowed."""


def send(stream: socket.socket, text: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> None:
    """Send JSON values, and tensors of any shape by name.

    Raises:
        OSError: the other side is gone.
        TypeError, SafetensorError: a value or a tensor's type can't be sent.
    """
    head = json.dumps([text, list(tensors or ())]).encode()
    body = save(_separate(tensors)) if tensors else b""
    stream.sendall(_SIZES.pack(len(head), len(body)) + head)
    if body:  # or else the other side may have answered by now, and gone
        stream.sendall(body)


def receive(stream: socket.socket, longest: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The next message; nothing is allocated for what is announced and does not arrive.

    Args:
        longest: bytes of tensors that are accepted.

    Raises:
        EOFError: the other side has closed its end.
        WireError: it is not a message, or too long.
    """
    head, body = _SIZES.unpack(_exactly(stream, _SIZES.size))
    if head > LONGEST_TEXT or body > longest:
        raise WireError(f"a message of {head:,} and {body:,} bytes; at most {LONGEST_TEXT:,} and {longest:,}")
    try:
        text, names = json.loads(bytes(_exactly(stream, head)))
        found = load(bytes(_exactly(stream, body))) if body else {}
        # In the order of sending: safetensors orders them differently each time, and sums over parameters round by the
        # order. Copies: in the message's memory a tensor begins at any byte, and kernels round by its alignment.
        tensors = {name: found[name].clone() for name in names}
    except (ValueError, TypeError, KeyError, RecursionError, SafetensorError) as error:
        raise WireError(f"not a message ({type(error).__name__})") from error
    if not isinstance(text, dict) or len(tensors) != len(found):
        raise WireError("not a message (no object)")
    return text, tensors


def _exactly(stream: socket.socket, count: int) -> bytearray:
    content = bytearray()
    while len(content) < count:
        part = stream.recv(min(_CHUNK, count - len(content)))
        if not part:
            raise EOFError
        content += part
    return content


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each with memory of its own: safetensors refuses tensors that share theirs."""
    seen, found = set(), {}
    for name, value in tensors.items():
        plain = value.detach().cpu().contiguous()
        place = plain.untyped_storage().data_ptr()
        found[name] = plain.clone() if place in seen else plain
        seen.add(place)
    return found
