"""Features that AWS does not offer in some regions and no API reports. Pure; each list has its page and date.

The lists grow old: remove a region here once it has the feature.
"""

from collections.abc import Iterator

from infra.stage.config import StageConfig

AS_OF = "2026-11"
WITHOUT_FUNCTION_URLS = frozenset(
    ("ap-south-2", "ap-southeast-4", "ca-west-1", "eu-south-2", "eu-central-2", "il-central-1", "me-central-1")
)
FUNCTION_URLS = "https://docs.aws.amazon.com/lambda/latest/dg/lambda-urls.html"
WITHOUT_SNAPSTART = frozenset(("ap-east-2", "ap-southeast-6"))
SNAPSTART = "https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html"
OTHER_PARTITIONS = ("cn-", "us-gov-", "us-iso")  # this project was never tried there


def region_faults(config: StageConfig, region: str) -> Iterator[str]:
    """A sentence for each feature that the stage needs and the region does not have."""
    if region.startswith(OTHER_PARTITIONS):
        yield f"{region} belongs to another AWS partition, where this project was never tried: name another region."
    if region in WITHOUT_FUNCTION_URLS and config.front_door != "apigw":
        yield (
            f"{region} has no function URLs, which stream (so says AWS, {AS_OF}: {FUNCTION_URLS}): take front_door "
            "apigw, or another region."
        )
    if region in WITHOUT_SNAPSTART and config.snapstart:
        yield f"{region} has no SnapStart (so says AWS, {AS_OF}: {SNAPSTART}): leave it out, or name another region."
