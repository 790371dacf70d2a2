"""lambda_src/dev/emulator/url/bandwidth.py: the token bucket that limits the bandwidth of responses."""

from lambda_src.dev.emulator.url.bandwidth import Bandwidth


def test_the_burst_is_not_delayed() -> None:
    assert Bandwidth(600, 200).take(600, 0.0) == 0.0


def test_bytes_beyond_the_burst_are_delayed_to_the_rate() -> None:
    bucket = Bandwidth(600, 200)
    assert [bucket.take(600, 0.0), bucket.take(200, 0.0), bucket.take(200, 1.0)] == [0.0, 1.0, 1.0]


def test_a_pause_refills_the_bucket_up_to_the_burst() -> None:
    bucket = Bandwidth(600, 200)
    bucket.take(600, 0.0)
    assert [bucket.take(600, 1000.0), bucket.take(200, 1000.0)] == [0.0, 1.0]
