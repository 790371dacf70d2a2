"""The bucket, at times that the test sets."""

from lambda_src.dev.emulator.bandwidth import Bandwidth


def test_the_burst_is_free() -> None:
    assert Bandwidth(600, 200).take(600, 0.0) == 0.0


def test_what_is_over_the_burst_waits_for_the_rate() -> None:
    bucket = Bandwidth(600, 200)
    assert [bucket.take(600, 0.0), bucket.take(200, 0.0), bucket.take(200, 1.0)] == [0.0, 1.0, 1.0]


def test_a_pause_fills_the_bucket_but_never_above_the_burst() -> None:
    bucket = Bandwidth(600, 200)
    bucket.take(600, 0.0)
    assert [bucket.take(600, 1000.0), bucket.take(200, 1000.0)] == [0.0, 1.0]
