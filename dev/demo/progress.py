"""Show the demo's progress: one updated line in a terminal, one line per picture elsewhere."""

import shutil
import sys
import time


class Progress:
    """Progress over a number of pictures.

    Args:
        total: Number of pictures.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.name = ""
        self.begun = time.monotonic()
        self.live = sys.stdout.isatty()

    def waiting(self, elapsed: float) -> None:
        """Show that the server is starting."""
        self.overwrite(f"Starting ComfyUI ... {elapsed:.0f} s")

    def ready(self, url: str) -> None:
        """Show that the server is up."""
        self.line(f"ComfyUI is up on {url} after {time.monotonic() - self.begun:.0f} s")

    def start(self, name: str) -> None:
        """Begin a picture."""
        self.name = name
        self.begun = time.monotonic()
        self.overwrite(f"[{self.done + 1:2}/{self.total}] {name}: loading")

    def step(self, _node: str, done: int, total: int) -> None:
        """Show a sampling step."""
        bar = ("#" * round(20 * done / max(total, 1))).ljust(20)
        self.overwrite(f"[{self.done + 1:2}/{self.total}] [{bar}] step {done}/{total}  {self.name}")

    def finish(self) -> None:
        """End a picture."""
        self.done += 1
        self.line(f"[{self.done:2}/{self.total}] {self.name} ({time.monotonic() - self.begun:.1f} s)")

    def overwrite(self, text: str) -> None:
        """Show a temporary line, in a terminal only."""
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            print("\r" + text[:width].ljust(width), end="", flush=True)

    def line(self, text: str) -> None:
        """Show a permanent line."""
        self.overwrite("")
        print(("\r" if self.live else "") + text, flush=True)
