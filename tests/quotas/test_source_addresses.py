"""Whom the limit of guests' tokens per source counts as one."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from lambda_src.quotas.source_addresses import network_of

V4 = st.ip_addresses(v=4)
V6 = st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address).filter(lambda address: address.ipv4_mapped is None)
HALF = 1 << 64


@given(V6, st.integers(0, HALF - 1))
def test_every_address_of_a_64_is_one_source(address: ipaddress.IPv6Address, other: int) -> None:
    neighbour = ipaddress.IPv6Address(int(address) // HALF * HALF + other)
    assert network_of(str(neighbour)) == network_of(str(address)) == network_of(address.exploded.upper())


@given(V6, V6)
def test_two_64s_are_two_sources(one: ipaddress.IPv6Address, other: ipaddress.IPv6Address) -> None:
    assert (network_of(str(one)) == network_of(str(other))) == (int(one) // HALF == int(other) // HALF)


@given(V4, V4)
def test_an_ipv4_address_is_one_source_however_it_is_written(
    one: ipaddress.IPv4Address, other: ipaddress.IPv4Address
) -> None:
    assert network_of(f"::ffff:{one}") == network_of(str(one)) == str(one)
    assert (network_of(f"::ffff:{one}") == network_of(f"::ffff:{other}")) == (one == other)


@given(V6, st.text("abcdefgh0123456789", max_size=20))
def test_a_zone_makes_no_other_source(address: ipaddress.IPv6Address, zone: str) -> None:
    assert network_of(f"{address}%{zone}") == network_of(str(address))


@given(st.text())
def test_what_is_no_address_is_counted_as_it_stands(text: str) -> None:
    assert isinstance(network_of(text), str)
    assert network_of(f"no address: {text}") == f"no address: {text}"
