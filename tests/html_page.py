"""An HTML page as a browser reads it: what it opens and closes, loads and links to."""

from html.parser import HTMLParser
from typing import Any


class Page(HTMLParser):
    """Which tags a page opens without closing, what it loads, and its text."""

    EMPTY = ("meta", "img", "br", "path", "circle", "rect")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.loads += [found[k] for k in ("src", "srcset", "data") if k in found]
        self.loads += [found["href"]] if tag in ("link", "image", "use") else []
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"][1:]] if tag == "a" else []
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.EMPTY:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data
