"""Programs as a person sees them: in a terminal of their own."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading

from programs import eventually

ROWS, COLUMNS = 50, 160
ESCAPES = re.compile(r"\x1b(\[[0-9;?<>=]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[()][A-Z0-9]|[=>78cDEHM])")
WHERE_IS_THE_CURSOR = b"\x1b[6n"


class Terminal:
    """A program in a pseudo-terminal, which answers what real ones answer."""

    def __init__(self, command, environment, folder):
        self.end, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            command, stdin=inside, stdout=inside, stderr=inside, cwd=folder, start_new_session=True,
            env={**environment, "TERM": "xterm-256color"}, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(inside)
        self.raw = b""
        self.looked = 0
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while True:
            try:
                piece = os.read(self.end, 65536)
            except OSError:
                return
            if not piece:
                return
            for _ in range(piece.count(WHERE_IS_THE_CURSOR)):
                os.write(self.end, b"\x1b[1;1R")
            self.raw += piece

    @property
    def text(self):
        """All that was shown, without colours and movements of the cursor."""
        return ESCAPES.sub("", self.raw.decode(errors="replace")).replace("\r", "")

    def sees(self, words, seconds=20):
        """Waits until words are shown that were not looked at before."""

        def found():
            at = self.text.find(words, self.looked)
            if at >= 0:
                self.looked = at + len(words)
            return at >= 0

        try:
            eventually(found, words, seconds)
        except AssertionError as error:
            raise AssertionError(f"{words!r} is not shown after:\n{self.text[self.looked:]}") from error

    def types(self, keys):
        os.write(self.end, keys.encode())

    def enters(self, line):
        self.types(line + "\r")

    def ends(self, seconds=20):
        """Waits until the program is over; its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"the program is not over after:\n{self.text[-2000:]}") from error

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.reader.join(5)
        os.close(self.end)
