"""Imported by every Python process that has this folder on its path: connections to other machines are noted, and fail.

What was tried goes to the file that LALIA_TRIED names: a library that keeps quiet about its failure is found too.
"""

import os
import socket
import traceback
from pathlib import Path

_REAL = {name: getattr(socket.socket, name) for name in ("connect", "connect_ex", "sendto")}
_LOOK_UP = socket.getaddrinfo
_NEAR = ("127.0.0.1", "::1", "localhost", "", None)


def _refuse(what):
    with Path(os.environ["LALIA_TRIED"]).open("a", encoding="utf-8") as file:
        file.write(f"{what}\n{''.join(traceback.format_stack(limit=8))}\n")
    raise OSError(f"no network in this test: {what}")


def _watch(name):
    def call(self, *arguments):
        address = arguments[-1]
        if self.family != socket.AF_UNIX and address[0] not in _NEAR:
            _refuse(f"{name} {address}")
        return _REAL[name](self, *arguments)

    setattr(socket.socket, name, call)


def _look_up(host, *arguments, **options):
    if host not in _NEAR:
        _refuse(f"getaddrinfo {host}")
    return _LOOK_UP(host, *arguments, **options)


for _name in _REAL:
    _watch(_name)
socket.getaddrinfo = _look_up
