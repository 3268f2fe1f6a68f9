"""Debian's WebKitGTK: its MiniBrowser on a screen that nobody sees, driven by its own WebDriver.

A page of it answers to what ``watching.py`` asks of a page of Playwright, in the same words.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import clock_picture
from watching import PATIENCE_S

from support.polling import wait_until

#: There is no sound card, no desktop, and no graphics card: pixels are the work of one thread. HLS is off
#: in WebKitGTK where nothing asks for it.
_ENVIRONMENT = {
    "GST_PLUGIN_FEATURE_RANK": "fakeaudiosink:max",
    "LP_NUM_THREADS": "1",
    "NO_AT_BRIDGE": "1",
    "WEBKIT_GST_ENABLE_HLS_SUPPORT": "1",
}
#: As in Safari, a page may play by itself what has no sound.
_ARGUMENTS = ["--automation", "--autoplay-policy=allow-without-sound"]
#: What a command or a script does has been done after so long, or never is.
_TIMEOUT_S = PATIENCE_S

#: Playwright's ``evaluate``: an expression, or a function that is called; a promise is awaited.
_EVALUATE = """
const [source, argument, done] = arguments;
(async () => {
  const value = (0, eval)(`(${source})`);
  return typeof value === "function" ? value(argument) : value;
})().then((value) => done({ value }), (error) => done({ error: String(error) }));
"""

#: The page at an address, in a frame of its own; a script of ours runs there before the page's.
_WRITE_FRAME = """
async ({ url, script, width, height }) => {
  const html = await (await fetch(url)).text();
  history.replaceState(null, "", url);
  document.body.innerHTML = "<iframe allow='autoplay; fullscreen'></iframe>";
  document.body.style.margin = 0;
  const frame = document.querySelector("iframe");
  Object.assign(frame, { width, height, style: "border: 0; display: block" });
  frame.contentWindow.eval(script);
  frame.contentDocument.open();
  frame.contentDocument.write(html);
  frame.contentDocument.close();
}
"""


def mini_browser() -> Path | None:
    """It stands beside the library, not among the programs."""
    return next(iter(Path("/usr/lib").glob("*/webkit2gtk-4.1/MiniBrowser")), None)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class WebKit:
    """A screen, and a driver whose one browser has no past and takes any certificate."""

    def __init__(self, directory: Path) -> None:
        browser = mini_browser()
        assert browser is not None, "WebKitGTK is missing: sh tools/peers.sh webkit"
        self._stack = contextlib.ExitStack()
        log = self._stack.enter_context((directory / "webkit.log").open("wb"))
        screen = subprocess.Popen(
            ["Xvfb", "-displayfd", "1", "-screen", "0", "1600x1200x24", "-nolisten", "tcp", "-noreset"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
        )  # fmt: skip
        self._stack.callback(_end, screen)
        assert screen.stdout is not None
        with screen.stdout as number:
            display = f":{number.readline().decode().strip()}"
        port = _free_port()
        self._address = f"http://127.0.0.1:{port}"
        driver = subprocess.Popen(
            ["WebKitWebDriver", f"--port={port}"], env={**os.environ, **_ENVIRONMENT, "DISPLAY": display},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        self._stack.callback(_end, driver)
        wait_until(self._is_ready, "the driver of WebKitGTK")
        wanted = {
            "browserName": "MiniBrowser",
            "acceptInsecureCerts": True,
            "timeouts": {"script": int(_TIMEOUT_S * 1000), "pageLoad": int(_TIMEOUT_S * 1000)},
            "webkitgtk:browserOptions": {"binary": str(browser), "args": _ARGUMENTS},
        }
        answer = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = f"/session/{answer['sessionId']}"
        print(f"WebKitGTK {answer['capabilities']['browserVersion']}")

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self.ask("GET", "/status")["ready"])
        return False

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One command (W3C WebDriver, section 6.3), and what it answers; AssertionError for an error."""
        request = urllib.request.Request(
            self._address + path, method=method, data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=2 * _TIMEOUT_S) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{method} {path}: {error.read().decode()}") from None

    def close(self) -> None:
        self._stack.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """And whatever it has started: a driver that ends leaves its browser behind."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class WebKitPage:
    """What the browser shows. Methods that Playwright's page has too do what they do there."""

    def __init__(self, webkit: WebKit) -> None:
        self._webkit = webkit

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._webkit.ask(method, self._webkit.session + path, body)

    def goto(self, url: str, width: int = 480, height: int = 600) -> None:
        """Go there in the window itself, which is made as wide and high as it lets itself be. Small: each
        pixel costs time."""
        self.ask("POST", "/window/rect", {"width": width, "height": height})
        self.ask("POST", "/url", {"url": url})
        self._read_clock()

    def goto_in_frame(
        self, url: str, script: str = "", width: int = 390, height: int = 500
    ) -> None:
        """Go there in a frame of this size, where ``script`` runs before the page's own.

        The frame is written from the server's page without a stream."""
        self.goto(urllib.parse.urljoin(url, "/"), width + 100, height + 150)
        self.evaluate(_WRITE_FRAME, {"url": url, "script": script, "width": width, "height": height})
        self.ask("POST", "/frame", {"id": 0})
        self._read_clock()

    def _read_clock(self) -> None:
        self.evaluate(f"() => {{ {clock_picture.script()} }}")

    def evaluate(self, source: str, arg: object = None) -> Any:
        answer = self.ask("POST", "/execute/async", {"script": _EVALUATE, "args": [source, arg]})
        assert "error" not in answer, answer["error"]
        return answer.get("value")

    def wait_for_function(
        self, source: str, arg: object = None, timeout: float = PATIENCE_S * 1000
    ) -> None:
        wait_until(lambda: self.evaluate(source, arg), source, timeout / 1000)

    def text(self, id_: str) -> str:
        """What stands in an element of the page."""
        found: str = self.evaluate("id => document.getElementById(id).textContent", id_)
        return found

    def screenshot(self, path: Path) -> None:
        """Of what the window shows, with all frames."""
        path.write_bytes(base64.b64decode(self.ask("GET", "/screenshot")))
