"""For attacks on the curation app: every route there is, and what a browser would run."""

import re
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

EVIL = "\"><xss-probe onerror='alert(1)'><" + "i>"
PLACE = re.compile(r"<(?:(\w+)(?:\([^)]*\))?:)?(\w+)>")
ARGUMENTS = (
    *("after", "before", "collection", "done", "flag", "label", "left", "limit", "merged", "next"),
    *("order", "page", "part", "q", "right", "score", "side_px", "source", "stars", "state", "tag"),
    *("text", "threshold", "to"),
)
"""Names of URL arguments that some page reads."""


def rules(app: Flask, *methods: str) -> list[Rule]:
    """The app's routes that take one of these methods."""
    found = [rule for rule in app.url_map.iter_rules() if set(methods) & (rule.methods or set())]
    return sorted(found, key=lambda rule: ("/api/v1/" in rule.rule, rule.rule, rule.endpoint))


def views(app: Flask, *methods: str) -> list[Rule]:
    """A route of each view: those of the API lead to the same ones."""
    return list({rule.endpoint: rule for rule in reversed(rules(app, *methods))}.values())


def changing(app: Flask) -> list[tuple[str, str, str]]:
    """Every route that changes something: its endpoint, a method and an address."""
    return [
        (rule.endpoint, method, filled(rule))
        for method in ("POST", "PUT", "PATCH", "DELETE")
        for rule in rules(app, method)
    ]


def filled(rule: Rule, text: str = "1") -> str:
    """A route's address with this text in each place."""
    return PLACE.sub(lambda _: text, rule.rule)


def crawl(app: Flask, client: FlaskClient, *also: str, most: int = 150) -> dict[str, TestResponse]:
    """All pages that can be come to by links, and from addresses without places."""
    waiting = [*also] + [rule.rule for rule in rules(app, "GET") if not PLACE.search(rule.rule)]
    seen: dict[str, TestResponse] = {}
    while waiting and len(seen) < most:
        url = waiting.pop(0)
        if url not in seen:
            seen[url] = client.get(url)
            waiting += _links(url, seen[url])
    return seen


def _links(url: str, answer: TestResponse) -> list[str]:
    """Where a page leads to within the app."""
    found = [answer.headers["Location"]] if "Location" in answer.headers else []
    if answer.mimetype == "text/html":
        found += re.findall(r'(?:href|src|data-original)="([^"]*)"', answer.text)
    whole = [urlsplit(urljoin(url, link.replace("&amp;", "&"))) for link in found]
    return [
        one._replace(fragment="").geturl()
        for one in whole
        if not one.netloc and not one.path.startswith("/static/")
    ]


class Markup(HTMLParser):
    """What a browser would make of a page that must not be there."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in ("xss-probe", "style", "iframe", "object", "embed", "base"):
            self.faults.append(f"<{tag}>")
        if tag == "script" and not (values.get("src") or "").startswith("/static/"):
            self.faults.append(f"<script {values}>")
        for name, value in values.items():
            if name.startswith("on") or name == "style":
                self.faults.append(f"<{tag} {name}>")
            leads = name in ("href", "src", "action", "formaction", "data-original")
            if leads and re.match(r"\s*(javascript|vbscript|data):", value or "", re.I):
                self.faults.append(f"<{tag} {name}={value}>")


def faults_in(answer: TestResponse) -> list[str]:
    """Text of people that a browser would run; only pages may hold markup at all."""
    if answer.mimetype == "text/html":
        reader = Markup()
        reader.feed(answer.text)
        return reader.faults
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    if b"xss-probe" in answer.data:
        allowed = ("application/json", "text/plain", "text/csv", "application/x-ndjson")
        return [] if answer.mimetype in allowed else [f"probe in {answer.mimetype}"]
    return []
