"""Memory kept for reuse: set by the first block, given back by the last one, and of no effect on results."""

from __future__ import annotations

import ctypes
import platform
from contextlib import ExitStack

import pytest
import torch

from SPRCore.functional import integrate, kept_memory


class Library:
    """Stub of the C library that records its calls."""

    def __init__(self):
        self.options, self.trims = {}, 0

    def mallopt(self, option, value):
        self.options[option] = value

    def malloc_trim(self, pad):
        self.trims += 1


@pytest.fixture
def library(monkeypatch):
    library = Library()
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    return library


def test_a_block_keeps_memory_and_then_gives_it_back(library):
    with kept_memory():
        kept = dict(library.options)
        assert library.trims == 0
    assert library.trims == 1
    assert kept.keys() == library.options.keys()
    assert all(kept[option] != value for option, value in library.options.items())


def test_blocks_nest(library):
    with kept_memory():
        kept = dict(library.options)
        with kept_memory():
            pass
        assert library.options == kept
        assert library.trims == 0
    assert library.options != kept
    assert library.trims == 1


def test_the_last_of_overlapping_blocks_restores(library):
    # Two threads need not end in the order in which they began.
    first, second = ExitStack(), ExitStack()
    first.enter_context(kept_memory())
    kept = dict(library.options)
    second.enter_context(kept_memory())
    first.close()
    assert library.options == kept
    second.close()
    assert library.options != kept


def test_an_error_in_a_block_restores_too(library):
    kept = {}

    def fail():
        with kept_memory():
            kept.update(library.options)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert kept
    assert library.options != kept
    with kept_memory():
        assert library.options == kept


@pytest.mark.parametrize(("system", "libc"), [("Darwin", ""), ("Windows", ""), ("Linux", "musl")])
def test_elsewhere_nothing_happens(monkeypatch, system, libc):
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "libc_ver", lambda: (libc, ""))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("no library is to be opened"))
    entered = False
    with kept_memory():
        entered = True
    assert entered


def test_a_block_computes_the_same(random_displacement):
    velocity = random_displacement((20, 18, 16), dtype=torch.float32)
    expected = integrate(velocity)
    for _ in range(2):
        with kept_memory():
            assert torch.equal(integrate(velocity), expected)
    assert torch.equal(integrate(velocity), expected)
