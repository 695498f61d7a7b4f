"""Which URLs and addresses are followed at all: what a stranger may not reach through the app."""

import ipaddress
import itertools
import threading

import pytest

from curation_app.intake.addresses import checked_addresses, is_public, parse_url
from curation_app.intake.fetch import FetchError, Rules, fetch
from tests.test_curation_app_intake_fetch import png, says, serving


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "LOCALHOST", "localhost.", "127.1.2.3", "0.0.0.0", "[::1]"),
        *("[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[0:0:0:0:0:0:0:1]"),
        *("[2002:7f00:1::]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[fe80::1]", "[fc00::1]"),
        *("[2001:0:7f00:1::]", "[ff02::1]", "[fe80::1%25lo]", "[fd00:ec2::254]"),
        *("169.254.169.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1", "240.0.0.1"),
        *("2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "017700000001", "0"),
        *("127.0.0.1.", "127。0。0。1", "１２７.０.０.１", "①②⑦.0.0.1", "168.63.129.16"),
    ],
)
def test_no_spelling_of_an_inner_address_is_followed(host: str) -> None:
    with serving({"/cat.png": says(png())}) as server:
        url = server.url(host=host)
        with pytest.raises(FetchError, match=r"public|number|host name"):
            fetch(url, Rules(ports=frozenset([server.server_port])))
        assert server.asked == []


def test_public_addresses_are_told_from_all_others() -> None:
    for public in ("93.184.216.34", "1.1.1.1", "2606:4700::1111", "64:ff9b::101:101", "172.32.0.1"):
        assert is_public(ipaddress.ip_address(public))
    # What the standard library knows to be special is special here, too.
    for number in range(0, 2**32, 2**20 - 12_345):
        address = ipaddress.IPv4Address(number)
        special = not address.is_global or address.is_multicast or address.is_reserved
        assert not (special and is_public(address)), address


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("file:///etc/passwd", "only http"),
        ("gopher://example.com/_GET", "only http"),
        ("ftp://example.com/a.png", "only http"),
        ("data:image/png;base64,AAAA", "only http"),
        ("//example.com/a.png", "only http"),
        ("cat.png", "only http"),
        ("", "only http"),
        ("http://", "no valid host"),
        ("http:///a.png", "no valid host"),
        ("http://user:secret@example.com/a.png", "user name or password"),
        ("http://example.com@127.0.0.1/", "user name or password"),
        ("http://example.com\\@127.0.0.1/", "user name or password"),
        ("http://127.0.0.1#@example.com/", "not on the public internet"),
        ("http://127.0.0.1?@example.com/", "not on the public internet"),
        ("http://exa mple.com/", "spaces or control"),
        ("http://example.com/\r\nHost: inner", "spaces or control"),
        ("http://example.com/\0", "spaces or control"),
        ("http://exam\tple.com/", "spaces or control"),
        ("http://example.com:22/", "port 22 is not allowed: use one of 80, 443"),
        ("http://example.com:99999/", "not a URL"),
        ("http://example.com:x/", "not a URL"),
        ("http://[::1", "not a URL"),
        ("http://[fe80::1%eth0]/", "no valid host"),
        ("http://-.example..com/", "no valid host"),
        ("http://a/" + "b" * 3000, "longer than 2048"),
    ],
)
def test_odd_urls_are_refused_in_one_line(url: str, why: str) -> None:
    with pytest.raises(FetchError) as caught:
        fetch(url, Rules(resolve=lambda host, port: pytest.fail("resolved")))
    assert why in caught.value.reason
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_one_inner_address_among_public_ones_refuses_the_host_and_is_not_told() -> None:
    rules = Rules(resolve=lambda host, port: ["93.184.216.34", "10.1.2.3"])
    with pytest.raises(FetchError) as caught:
        fetch("http://pictures.example/a.png", rules)
    assert caught.value.reason == "pictures.example is not on the public internet"
    odd = iter([["fe80::1%lo"], ["not an address"], []])
    rules = Rules(resolve=lambda host, port: next(odd))
    for why in ("public", "cannot be read", "there is no host"):
        with pytest.raises(FetchError, match=why):
            fetch("http://pictures.example/a.png", rules)


def test_a_public_address_of_this_very_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation_app.intake.addresses.is_public", lambda address: True)
    with serving({"/cat.png": says(png())}) as server:
        with pytest.raises(FetchError, match="leads back to this machine"):
            fetch(server.url(), Rules(ports=frozenset([server.server_port])))
        assert server.asked == []


def test_dns_that_changes_between_check_and_use_does_not_help() -> None:
    allowed = (ipaddress.ip_network("127.0.0.2/32"),)
    answers = itertools.chain([["127.0.0.2"]], itertools.repeat(["127.0.0.3"]))
    with (
        serving({"/cat.png": says(png(8))}, "127.0.0.2") as good,
        serving({"/cat.png": says(png(9))}, "127.0.0.3", good.server_port) as inner,
    ):
        rules = Rules(
            ports=frozenset([good.server_port]),
            networks=allowed,
            resolve=lambda host, port: next(answers),
        )
        url = good.url(host="pictures.example")
        assert fetch(url, rules).data == png(8)
        with pytest.raises(FetchError, match="public"):
            fetch(url, rules)
        assert (len(good.asked), inner.asked) == (1, [])


def test_a_resolver_that_hangs_is_not_waited_for() -> None:
    place = parse_url("http://slow.example/", ports={80})
    done = threading.Event()
    with pytest.raises(Exception, match=r"not resolved within 0\.1 s"):
        checked_addresses(
            place,
            resolve=lambda host, port: [str(done.wait(5))],
            networks=(),
            timeout_s=0.1,
        )
    done.set()


def test_a_redirect_to_loopback_is_refused_although_the_first_host_was_allowed() -> None:
    with serving({"/secret.png": says(png())}, "127.0.0.3") as inner:
        away = says(status=302, Location=inner.url("/secret.png", "127.0.0.3"))
        with serving({"/cat.png": away}, "127.0.0.2") as outer:
            rules = Rules(
                ports=frozenset([inner.server_port, outer.server_port]),
                networks=(ipaddress.ip_network("127.0.0.2/32"),),
            )
            with pytest.raises(FetchError, match="not on the public internet"):
                fetch(outer.url(host="127.0.0.2"), rules)
        assert (len(outer.asked), inner.asked) == (1, [])
