"""The cache of upstream answers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgemesh.policy.dns_cache import DnsCache, Key
from edgemesh.wire.dns import codes
from edgemesh.wire.dns.names import ROOT, from_text
from edgemesh.wire.dns.records import Content, Record, address_record, cname_record, soa_record

NAME = from_text("example.com")
KEY: Key = (NAME, codes.A)


def cache(entries: int = 100, size_bytes: int = 10**6) -> DnsCache:
    return DnsCache(
        entries=entries, size_bytes=size_bytes, max_ttl=3600, negative_ttl=30, stale_max=600
    )


def positive(*ttls: int) -> Content:
    return Content(codes.NOERROR, tuple(address_record(NAME, ttl, "192.0.2.1") for ttl in ttls))


def start(ttl: int, minimum: int) -> Record:
    return soa_record(NAME, ttl, server=ROOT, mailbox=ROOT, serial=1, minimum=minimum)


def ttls(content: Content | None) -> list[int] | None:
    if content is None:
        return None
    return [record.ttl for section in content[1:] for record in section]


def test_the_remaining_ttl_is_given_out_until_the_first_record_expires() -> None:
    subject = cache()
    subject.put(KEY, positive(60, 100), 1000.0)
    assert ttls(subject.fresh(KEY, 1000.0)) == [60, 60]
    assert ttls(subject.fresh(KEY, 1059.5)) == [0, 0]
    assert subject.fresh(KEY, 1060.0) is None


def test_a_ttl_is_at_most_the_upper_bound() -> None:
    subject = cache()
    subject.put(KEY, positive(86400), 0.0)
    assert ttls(subject.fresh(KEY, 10.0)) == [3590]
    assert subject.fresh(KEY, 3600.0) is None


def test_nothing_is_kept_for_other_keys() -> None:
    subject = cache()
    subject.put(KEY, positive(60), 0.0)
    assert subject.fresh((NAME, codes.AAAA), 0.0) is None
    assert subject.stale((NAME, codes.AAAA), 0.0) is None


def test_a_ttl_of_zero_is_not_kept_and_ends_what_was() -> None:
    subject = cache()
    subject.put(KEY, positive(60), 0.0)
    subject.put(KEY, positive(60, 0), 1.0)
    assert subject.fresh(KEY, 1.0) is None
    assert (len(subject), subject.size_bytes) == (0, 0)


def test_a_denial_is_kept_as_long_as_its_soa_says() -> None:
    subject = cache()
    for number, (ttl, minimum) in enumerate([(20, 900), (900, 20), (900, 900)]):
        for rcode in (codes.NXDOMAIN, codes.NOERROR):
            key = (NAME, number)
            subject.put(key, Content(rcode, (), (start(ttl, minimum),)), 0.0)
            assert ttls(subject.fresh(key, 0.0)) == [20 if number < 2 else 30]


def test_a_denial_behind_an_alias_ends_with_the_alias() -> None:
    subject = cache()
    alias = cname_record(NAME, 7, NAME)
    for rcode in (codes.NXDOMAIN, codes.NOERROR):
        subject.put(KEY, Content(rcode, (alias,), (start(20, 20),)), 0.0)
        assert subject.fresh(KEY, 6.0) is not None
        assert subject.fresh(KEY, 7.0) is None


def test_a_denial_without_soa_is_not_kept() -> None:
    subject = cache()
    subject.put(KEY, Content(codes.NXDOMAIN), 0.0)
    subject.put(KEY, Content(codes.NOERROR), 0.0)
    assert len(subject) == 0


def test_an_expired_answer_serves_for_a_bounded_time_with_a_short_ttl() -> None:
    subject = cache()
    subject.put(KEY, positive(100), 0.0)
    assert ttls(subject.stale(KEY, 50.0)) == [30]
    assert ttls(subject.stale(KEY, 699.0)) == [30]
    assert len(subject) == 1
    assert subject.stale(KEY, 700.0) is None
    assert len(subject) == 0


def test_the_least_recently_used_give_way() -> None:
    subject = cache(entries=3)
    keys = [(NAME, number) for number in range(5)]
    for key in keys[:3]:
        subject.put(key, positive(60), 0.0)
    assert subject.fresh(keys[0], 1.0)
    assert subject.stale(keys[1], 1.0)
    subject.put(keys[3], positive(60), 1.0)
    subject.put(keys[4], positive(60), 1.0)
    kept = [key for key in keys if subject.fresh(key, 2.0)]
    assert kept == [keys[1], keys[3], keys[4]]


def test_an_answer_larger_than_the_cache_is_not_kept_and_drives_nothing_out() -> None:
    subject = cache(size_bytes=5000)
    subject.put(KEY, positive(60), 0.0)
    subject.put((NAME, 0), positive(*[60] * 100), 0.0)
    assert len(subject) == 1


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(0, 100)), max_size=60)
)
def test_the_bounds_hold_and_no_answer_outlives_its_ttl(
    puts: list[tuple[int, int, int]],
) -> None:
    subject = cache(entries=8, size_bytes=20_000)
    expires: dict[int, int] = {}
    for now, (number, count, ttl) in enumerate(puts):
        subject.put((NAME, number), positive(*[ttl] * count), float(now))
        expires[number] = now + ttl
        assert len(subject) <= 8
        assert 0 <= subject.size_bytes <= 20_000
        assert (len(subject) == 0) == (subject.size_bytes == 0)
        for other, end in expires.items():
            assert end > now or subject.fresh((NAME, other), float(now)) is None
