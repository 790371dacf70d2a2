"""Source addresses of guests: which IP addresses count as one network for the limits on guests."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from lambda_src.quotas.source_addresses import network_of

V4 = st.ip_addresses(v=4)
V6 = st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address).filter(lambda address: address.ipv4_mapped is None)
HALF = 1 << 64


@given(V6, st.integers(0, HALF - 1))
def test_all_addresses_of_an_ipv6_64_prefix_are_one_network(address: ipaddress.IPv6Address, other: int) -> None:
    neighbor = ipaddress.IPv6Address(int(address) // HALF * HALF + other)
    assert network_of(str(neighbor)) == network_of(str(address)) == network_of(address.exploded.upper())


@given(V6, V6)
def test_two_ipv6_64_prefixes_are_two_networks(first: ipaddress.IPv6Address, other: ipaddress.IPv6Address) -> None:
    assert (network_of(str(first)) == network_of(str(other))) == (int(first) // HALF == int(other) // HALF)


@given(V4, V4)
def test_an_ipv4_address_is_one_network_in_every_notation(
    first: ipaddress.IPv4Address, other: ipaddress.IPv4Address
) -> None:
    assert network_of(f"::ffff:{first}") == network_of(str(first)) == str(first)
    assert (network_of(f"::ffff:{first}") == network_of(f"::ffff:{other}")) == (first == other)


@given(V6, st.text("abcdefgh0123456789", max_size=20))
def test_a_zone_id_does_not_change_the_network(address: ipaddress.IPv6Address, zone: str) -> None:
    assert network_of(f"{address}%{zone}") == network_of(str(address))


@given(st.text())
def test_text_that_is_not_an_address_is_counted_unchanged(text: str) -> None:
    assert isinstance(network_of(text), str)
    assert network_of(f"no address: {text}") == f"no address: {text}"
