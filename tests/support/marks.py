"""Secrets that can be told from everything else, and where they come out."""

from __future__ import annotations

import base64
import itertools
import json
from urllib.parse import quote

#: In every secret; it stands in no program, certificate or address.
MARK = "Zq7"
_SHOWN_AROUND = 60


class Marks:
    """Makes secrets, and finds them in texts. ``further``: other texts that are secret, such as tickets."""

    def __init__(self) -> None:
        self.further: set[str] = set()
        self._numbers = itertools.count(100)

    def new(self) -> str:
        """One more, of letters and digits alone."""
        return f"{MARK}{next(self._numbers)}Kw"

    def whsec(self) -> str:
        """One for Standard Webhooks: base64 of 24 bytes that begins with the mark."""
        text = f"{self.new()}".ljust(32, "A")
        assert len(base64.b64decode(text)) == 24
        return f"whsec_{text}"

    def basic(self, user: str, password: str) -> str:
        value = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.further.add(value.rstrip("="))
        return f"Basic {value}"

    def escaped(self, secret: str) -> str:
        """Every character in percent-encoding; found in that form, too."""
        return "".join(f"%{ord(each):02X}" for each in secret)

    def leaks(self, text: str, *, tickets: bool = True) -> list[str]:
        """Each place where one comes out, with what stands around it."""
        found = []
        wanted = [MARK, self.escaped(MARK), quote(self.escaped(MARK)), *(self.further if tickets else ())]
        wanted.append(json.dumps(MARK)[1:-1])
        lowered = text.lower()
        for each in dict.fromkeys(map(str.lower, wanted)):
            at = lowered.find(each)
            while at >= 0:
                found.append(text[max(0, at - 4 * _SHOWN_AROUND) : at + _SHOWN_AROUND])
                at = lowered.find(each, at + _SHOWN_AROUND)
        return found
