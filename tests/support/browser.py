"""A headless Chromium that tests drive as a user would: opens pages, presses keys, clicks, and looks.

It is spoken to in Chrome's DevTools protocol through two pipes, so nothing listens on the network. WebGL is computed on
the CPU.
"""

import base64
import fcntl
import io
import json
import os
import select
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE_S = 120.0  # for an answer, on a machine that does other things too
_OPTIONS = (
    *("--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-extensions", "--mute-audio"),
    *("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--force-device-scale-factor=1"),
    "--disable-smooth-scrolling",
)
_CODES = {"?": "Slash", " ": "Space"}
_NUMBERS = {
    "Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "PageUp": 33, "PageDown": 34, "End": 35, "Home": 36,
    "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40,
}  # fmt: skip
"""Of keys that the browser itself answers to."""


class Browser:
    """A browser of its own profile, ended with the block.

    Args:
        profile: a new folder for all that it keeps.
    """

    def __init__(self, profile: Path) -> None:
        found = [shutil.which(name) for name in PROGRAMS]
        program = next((one for one in found if one is not None), None)
        if program is None:
            pytest.skip("no Chromium here")
        self._command = [program, *_OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        self._number = 0
        self._rest = b""
        self._pages: dict[str, Page] = {}

    def __enter__(self) -> "Browser":
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        # Chromium reads from 3 and writes to 4: theirs must not be among the numbers that are about to be taken
        high = [fcntl.fcntl(one, fcntl.F_DUPFD, 10) for one in (theirs_in, theirs_out)]
        shell = ["/bin/bash", "-c", f'exec "$0" "$@" 3<&{high[0]} 4>&{high[1]}', *self._command]
        self._process = subprocess.Popen(
            shell, pass_fds=high, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for one in (theirs_in, theirs_out, *high):
            os.close(one)
        self._in, self._out = ours_in, ours_out
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.ask("Browser.close")
        except (OSError, EOFError):
            self._process.kill()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def page(self, width: int = 1400, height: int = 1000) -> "Page":
        """A new empty page in a window of that size."""
        target = self.ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.ask("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = self._pages[session] = Page(self, session, target)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.ask(f"{domain}.enable")
        page.resize(width, height)
        return page

    def ask(self, method: str, arguments: Mapping[str, Any] | None = None, session: str | None = None) -> Any:
        """What a command of the protocol gives."""
        self._number += 1
        asked = {"id": self._number, "method": method, "params": dict(arguments or {})}
        if session is not None:
            asked["sessionId"] = session
        self._write(json.dumps(asked).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == asked["id"]:
                if "error" in told:
                    raise RuntimeError(f"{method}: {told['error']}")
                return told["result"]
            if told.get("sessionId") in self._pages:
                self._pages[told["sessionId"]].hear(told["method"], told["params"])

    def _write(self, message: bytes) -> None:
        while message:
            message = message[os.write(self._out, message) :]

    def _next(self) -> Any:
        while b"\0" not in self._rest:
            if not select.select([self._in], [], [], _PATIENCE_S)[0]:
                raise OSError("the browser doesn't answer")
            read = os.read(self._in, 1 << 20)
            if not read:
                raise EOFError("the browser has gone")
            self._rest += read
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


class Page:
    """One page, what it asked for and what it complained about.

    Attributes:
        requests: URLs of all that it loaded or tried to, but what is inside of it (`data:` and `blob:`).
        complaints: errors and warnings on its console, and exceptions that nobody caught.
    """

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser = browser
        self._session = session
        self._target = target
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._loaded = False

    def ask(self, method: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """What a command of the protocol gives, of this page."""
        return self._browser.ask(method, arguments, self._session)

    def hear(self, method: str, told: Mapping[str, Any]) -> None:
        """Notes what the browser tells of this page."""
        if method == "Network.requestWillBeSent":
            url = told["request"]["url"]
            if not url.startswith(("data:", "blob:")):
                self.requests.append(url)
        elif method == "Network.webSocketCreated":
            self.requests.append(told["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"].get("exception", {}).get("description", told)))
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(" ".join(str(one.get("value", one)) for one in told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(told["entry"]["text"])
        elif method == "Page.loadEventFired":
            self._loaded = True

    def resize(self, width: int, height: int) -> None:
        """Gives the window another size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", size)

    def close(self) -> None:
        """Ends the page, which is drawn no more."""
        self._browser.ask("Target.closeTarget", {"targetId": self._target})

    def open(self, url: str) -> None:
        """Goes to a URL and waits until it and all that it names is loaded."""
        self._loaded = False
        self.ask("Page.navigate", {"url": url})
        while not self._loaded:
            self.run("new Promise((go) => setTimeout(go, 20))")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; of a promise, what it becomes."""
        asked = {"expression": script, "awaitPromise": True, "returnByValue": True}
        told = self.ask("Runtime.evaluate", asked)
        if "exceptionDetails" in told:
            raise RuntimeError(f"{script}: {told['exceptionDetails']}")
        return told["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Waits until a JavaScript expression is true, looking again with every frame."""
        self.run(
            f"new Promise((go) => {{ const look = () => ({condition}) ? go() : requestAnimationFrame(look); look(); }})"
        )

    def press(self, *keys: str) -> None:
        """Presses keys one after the other, and waits for the next frame."""
        for key in keys:
            code = _CODES.get(key, f"Key{key.upper()}" if key.isalpha() and len(key) == 1 else key)
            event = {"key": key, "code": code, "windowsVirtualKeyCode": _NUMBERS.get(key, 0)}
            event |= {"text": key} if len(key) == 1 else {}
            self.ask("Input.dispatchKeyEvent", {"type": "keyDown", **event})
            self.ask("Input.dispatchKeyEvent", {"type": "keyUp", "key": key, "code": code})
        self.frame()

    def click(self, selector: str) -> None:
        """Clicks the middle of the first element of that selector, as a mouse does, and waits for the next frame."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.run(f"{found}.scrollIntoView({{block: 'center'}})")
        x, y, width, height = self.box(selector)
        at = {"x": x + width / 2, "y": y + height / 2, "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", {"type": kind, **at})
        self.frame()

    def frame(self) -> None:
        """Waits until two frames were drawn: what was asked for in the first is seen in the second."""
        self.run("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Left, top, width and height of an element in the window."""
        found = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y, width, height = self.run(f"(({{x, y, width, height}}) => [x, y, width, height])({found})")
        return x, y, width, height

    def text(self, selector: str) -> str:
        """What stands in an element, as it is seen."""
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def picture(self, selector: str | None = None, keep: Path | None = None) -> npt.NDArray[np.uint8]:
        """What is seen of the window or of an element: (row, column, 3).

        Args:
            selector: of the element.
            keep: a file that the picture is kept as, for people to look at.
        """
        box = (0.0, 0.0, np.inf, np.inf)
        if selector is not None:
            self.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'nearest'}})")
            self.frame()
            box = self.box(selector)
        png = base64.b64decode(self.ask("Page.captureScreenshot", {"format": "png"})["data"])
        with Image.open(io.BytesIO(png)) as image:
            left, top, width, height = box
            right, bottom = min(left + width, image.width), min(top + height, image.height)
            seen = image.convert("RGB").crop((round(left), round(top), round(right), round(bottom)))
        if keep is not None:
            seen.save(keep)
        return np.asarray(seen)
