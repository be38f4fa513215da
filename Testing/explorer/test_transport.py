"""The worker process in an event loop: input, output, termination and replacement."""

from __future__ import annotations

import asyncio
import signal
import sys

from SPRExplorer.transport import AsyncTransport

ECHO = [sys.executable, "-uc", "import sys\nfor line in sys.stdin: print(line.strip()[::-1])"]


class Recorder:
    """Records the callbacks of a transport."""

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
    async def run_test():
        transport = AsyncTransport()
        try:
            await test(transport, Recorder(transport))
        finally:
            await transport.stop()

    asyncio.run(run_test())


def test_input_output_and_ticks():
    async def test(transport, recorder):
        transport.start(ECHO)
        transport.write(b"abc\n")  # before the process is there
        await recorder.until(lambda: b"cba" in recorder.output)
        transport.write(b"def\n")
        await recorder.until(lambda: b"fed" in recorder.output and recorder.ticks)
        assert transport.pid

    run(test)


def test_the_exit_code_of_a_killed_process():
    async def test(transport, recorder):
        transport.start(ECHO)
        transport.write(b"abc\n")
        await recorder.until(lambda: recorder.output)
        transport.kill()
        await recorder.ended.wait()
        assert recorder.codes == [-signal.SIGKILL if hasattr(signal, "SIGKILL") else 1]
        transport.write(b"of no effect\n")
        transport.kill()

    run(test)


def test_a_missing_program():
    async def test(transport, recorder):
        transport.start(["no-such-program"])
        await recorder.ended.wait()
        assert recorder.codes == [None]
        assert b"no-such-program" in recorder.log

    run(test)


def test_output_of_a_replaced_process_is_ignored():
    async def test(transport, recorder):
        transport.start([sys.executable, "-uc", "import time; print('old'); time.sleep(60)"])
        await recorder.until(lambda: recorder.output)
        transport.kill()
        transport.start(ECHO)
        transport.write(b"wen\n")
        await recorder.until(lambda: b"new" in recorder.output)
        await asyncio.sleep(0.3)
        assert recorder.codes == []

    run(test)


def test_an_exception_in_a_callback_does_not_stop_reading(caplog):
    async def test(transport, recorder):
        received = []

        def fail_once(data):
            received.append(data)
            if len(received) == 1:
                raise RuntimeError("a fault")

        transport.on_output = fail_once
        transport.start(ECHO)
        transport.write(b"one\n")
        await recorder.until(lambda: received)
        transport.write(b"two\n")
        await recorder.until(lambda: b"owt" in b"".join(received))

    run(test)
    assert "a fault" in caplog.text


def test_stop_ends_the_process():
    import psutil

    async def test(transport, recorder):
        transport.start(ECHO)
        transport.write(b"abc\n")
        await recorder.until(lambda: recorder.output)
        number = transport.pid
        await transport.stop()
        assert not psutil.pid_exists(number)

    run(test)
