"""A process in an event loop: bytes, ends, and processes that were given up."""

from __future__ import annotations

import asyncio
import signal
import sys

from SPRExplorer.transport import AsyncTransport

ECHO = [sys.executable, "-uc", "import sys\nfor line in sys.stdin: print(line.strip()[::-1])"]


class Heard:
    """What a transport told."""

    def __init__(self, transport):
        self.output, self.log, self.codes, self.ticks = b"", b"", [], 0
        self.ended = asyncio.Event()
        transport.on_output, transport.on_log = self._output, self._log
        transport.on_ended, transport.on_tick = self._ended, self._tick

    def _output(self, data):
        self.output += data

    def _log(self, data):
        self.log += data

    def _ended(self, code):
        self.codes.append(code)
        self.ended.set()

    def _tick(self, now):
        self.ticks += 1

    async def until(self, condition):
        async def poll():
            while not condition():
                await asyncio.sleep(0.05)

        await asyncio.wait_for(poll(), 60)


def run(test):
    async def all_of_it():
        transport = AsyncTransport()
        try:
            await test(transport, Heard(transport))
        finally:
            await transport.stop()

    asyncio.run(all_of_it())


def test_bytes_go_both_ways_and_the_clock_ticks():
    async def test(transport, heard):
        transport.start(ECHO)
        transport.write(b"abc\n")  # before the process is there
        await heard.until(lambda: b"cba" in heard.output)
        transport.write(b"def\n")
        await heard.until(lambda: b"fed" in heard.output and heard.ticks)
        assert transport.pid

    run(test)


def test_a_killed_process_is_told_with_its_signal():
    async def test(transport, heard):
        transport.start(ECHO)
        transport.write(b"abc\n")
        await heard.until(lambda: heard.output)
        transport.kill()
        await heard.ended.wait()
        assert heard.codes == [-signal.SIGKILL if hasattr(signal, "SIGKILL") else 1]
        transport.write(b"of no effect\n")
        transport.kill()

    run(test)


def test_a_program_that_is_not_there():
    async def test(transport, heard):
        transport.start(["no-such-program"])
        await heard.ended.wait()
        assert heard.codes == [None]
        assert b"no-such-program" in heard.log

    run(test)


def test_a_process_that_was_given_up_is_not_heard():
    async def test(transport, heard):
        transport.start([sys.executable, "-uc", "import time; print('old'); time.sleep(60)"])
        await heard.until(lambda: heard.output)
        transport.kill()
        transport.start(ECHO)
        transport.write(b"wen\n")
        await heard.until(lambda: b"new" in heard.output)
        await asyncio.sleep(0.3)
        assert heard.codes == []

    run(test)


def test_a_fault_in_a_callback_does_not_cut_the_worker_off(caplog):
    async def test(transport, heard):
        told = []

        def fail_once(data):
            told.append(data)
            if len(told) == 1:
                raise RuntimeError("a fault")

        transport.on_output = fail_once
        transport.start(ECHO)
        transport.write(b"one\n")
        await heard.until(lambda: told)
        transport.write(b"two\n")
        await heard.until(lambda: b"owt" in b"".join(told))

    run(test)
    assert "a fault" in caplog.text


def test_nothing_is_left_behind():
    import psutil

    async def test(transport, heard):
        transport.start(ECHO)
        transport.write(b"abc\n")
        await heard.until(lambda: heard.output)
        number = transport.pid
        await transport.stop()
        assert not psutil.pid_exists(number)

    run(test)
