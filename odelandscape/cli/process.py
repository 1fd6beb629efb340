"""What the surroundings of a process can do to a command: output that cannot be written, and Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any

INTERRUPTED = 130
"""The exit status of a command that was interrupted (128 + SIGINT)."""
_PLAIN = str.maketrans(
    {"–": "-", "—": "-", "−": "-", "≤": "<=", "≥": ">=", "×": "x", "·": "*", "→": "->"}
)


class Output:
    """A stream of text that is always written to without an error.

    What its encoding lacks is replaced (α by `alpha`). The first error of the stream, or that it is closed,
    is kept as `error`, and what follows is dropped: printing undoes nothing that a command has done.
    """

    def __init__(self, stream: Any):
        self._stream = stream  # None where it was closed before this process
        self.error: OSError | ValueError | None = None
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write text, as far as the stream can be written to."""
        if self._stream is None and text:
            self.error = self.error or OSError("it is closed")
        with self._keeping_errors():
            if self._stream is not None and self.error is None:
                self._stream.write(encodable(text, self.encoding))
        return len(text)

    def flush(self) -> None:
        """Flush the stream, as far as it can be written to."""
        with self._keeping_errors():
            if self._stream is not None and self.error is None:
                self._stream.flush()

    def close(self) -> None:
        """Flush the stream, which is not ours to close."""
        self.flush()

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        """Return the stream's number, for the width of a terminal. Raises OSError if it is closed."""
        if self._stream is None:
            raise OSError("it is closed")
        return self._stream.fileno()

    @contextmanager
    def _keeping_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # ValueError: it was closed in this process
            self.error = error
            # Python would try to write the rest when it exits, and report that in its own words.
            if self._stream in (sys.__stdout__, sys.__stderr__):
                stream: Any = self._stream
                with suppress(OSError, ValueError), open(os.devnull, "w") as nothing:
                    os.dup2(nothing.fileno(), stream.fileno())


def encodable(text: str, encoding: str) -> str:
    """Return a text without characters that an encoding lacks: by their names or likenesses, or as `?`."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        named = "".join(map(_likeness, text))
        return named.encode(encoding, "replace").decode(encoding)
    return text


def _likeness(character: str) -> str:
    name = unicodedata.name(character, "")
    if name.startswith("GREEK SMALL LETTER "):
        return name.rpartition(" ")[2].lower().replace("lamda", "lambda")
    return unicodedata.normalize("NFKD", character).translate(_PLAIN)


@contextmanager
def safe_output() -> Iterator[Output]:
    """Let nothing that is printed raise an error; yield standard output, whose error can be asked for."""
    _open_closed_streams()
    output, errors = Output(sys.stdout), Output(sys.stderr)
    with redirect_stdout(output), redirect_stderr(errors):  # pyright: ignore[reportArgumentType]
        yield output
        output.flush()
        errors.flush()


def _open_closed_streams() -> None:
    """Give numbers 0 to 2, where they are closed, to nothing: else the next file that is opened gets one, and
    whatever a library prints there is written into it."""
    with suppress(OSError):
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(number)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let the first Ctrl-C raise KeyboardInterrupt, for what keeps what it has found; another one ends the
    process as `end_when_interrupted` has it."""
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or before is signal.default_int_handler:
        yield
        return

    watch = signal.set_wakeup_fd(-1)

    def restore() -> None:
        signal.signal(signal.SIGINT, before)
        signal.set_wakeup_fd(watch, warn_on_full_buffer=False)

    def interrupt(*_: object) -> None:
        restore()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        restore()


def end_when_interrupted(remark: str = "") -> None:
    """Let Ctrl-C end this process at once, with the message 'interrupted' and `remark`.

    For the process of a command, whatever it does: a store is whole at any moment, and workers end with their
    parent. A KeyboardInterrupt could come in the imports of libraries, or while Python cleans up, where it
    becomes another error or is lost. Nor does Python call a handler while a compiled program runs, of a
    trajectory for hours: a thread waits for the signal, too.
    """
    ending = threading.Lock()

    def end(*_: object) -> None:
        if ending.acquire(blocking=False):  # the handler's and the thread's is one line
            with suppress(OSError):
                os.write(2, f"\ninterrupted{remark}\n".encode())
            os._exit(INTERRUPTED)

    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as nohup has it
        return
    signal.signal(signal.SIGINT, end)
    waiting, woken = socket.socketpair()
    woken.setblocking(False)
    signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)

    def wait() -> None:
        with woken:  # open as long as signals are written there
            while received := waiting.recv(1):
                if received[0] == signal.SIGINT:
                    end()

    threading.Thread(target=wait, daemon=True).start()
