"""What AWS says it has not in which region, where no API can be asked. Pure; each list has its page and date.

Lists grow old: a region that has it by now is taken out here, and then deployed to.
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
OTHER_PARTITIONS = ("cn-", "us-gov-", "us-iso")  # nothing here was tried there


def region_faults(config: StageConfig, region: str) -> Iterator[str]:
    """A sentence for each thing that the stage wants and the region has not."""
    if region.startswith(OTHER_PARTITIONS):
        yield f"{region} is of a partition of its own, where nothing of this was tried: name another region."
    if region in WITHOUT_FUNCTION_URLS and config.front_door != "apigw":
        yield (
            f"{region} has no function URLs, which stream (so says AWS, {AS_OF}: {FUNCTION_URLS}): take front_door "
            "apigw, or another region."
        )
    if region in WITHOUT_SNAPSTART and config.snapstart:
        yield f"{region} has no SnapStart (so says AWS, {AS_OF}: {SNAPSTART}): leave it out, or name another region."
