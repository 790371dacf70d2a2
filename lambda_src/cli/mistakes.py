"""Explains common errors of commands in one sentence: no region, no credentials, wrong table, OpenAI unreachable."""

import sys
from typing import TYPE_CHECKING

from lambda_src.cli.options import Place
from lambda_src.errors import ChatError, UnavailableError

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError

REFUSED = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
SIGN_IN = "Run `aws configure` or `aws sso login`, or set AWS_PROFILE."


def sentence_of(fault: Exception, place: Place | None) -> str | None:
    """What is wrong and what to do. None for a bug, which deserves its traceback."""
    if "botocore" in sys.modules:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - loaded already

        cause = fault.__cause__ if isinstance(fault, UnavailableError) else fault
        if isinstance(cause, ClientError):
            return _of_aws(cause, place)
        if isinstance(cause, BotoCoreError):
            return _before_aws(cause)
    if "openai" in sys.modules and (sentence := _of_openai(fault)) is not None:
        return sentence
    if isinstance(fault, ChatError):
        return str(fault)
    if isinstance(fault, OSError) and fault.filename is not None:
        return f"{fault.filename}: {fault.strerror}."
    return None


def _of_aws(error: "ClientError", place: Place | None) -> str:
    code = str(error.response.get("Error", {}).get("Code", "an error"))
    where = "AWS" if place is None else str(place)
    if code == "ResourceNotFoundException":
        return f"There is no {where}. Check the name, the region and the account of your AWS profile."
    if code == "NoSuchBucket":
        return f"There is no bucket {place.bucket if place else ''}. Check the name, the region and the account."
    if code in REFUSED:
        return f"AWS refuses these credentials ({code}). {SIGN_IN}"
    if "AccessDenied" in code or code == "UnauthorizedOperation":
        return f"These AWS credentials are not allowed to do {error.operation_name} on {where} ({code})."
    return f"AWS answered {code} to {error.operation_name} on {where}."


def _before_aws(error: "BotoCoreError") -> str:
    from botocore import exceptions as aws  # noqa: PLC0415 - loaded already

    match error:
        case aws.NoRegionError():
            return "No AWS region is set: set AWS_REGION, or use --stage and set `region` of the stage in cdk.json."
        case aws.NoCredentialsError() | aws.PartialCredentialsError():
            return f"There are no AWS credentials. {SIGN_IN}"
        case aws.TokenRetrievalError() | aws.SSOError() | aws.CredentialRetrievalError():
            return f"The AWS credentials have expired or cannot be read. {SIGN_IN}"
        case aws.ProfileNotFound() | aws.ConfigParseError():
            return f"{str(error).rstrip('.')}."
        case aws.ConnectionError() | aws.HTTPClientError():
            endpoint = getattr(error, "kwargs", {}).get("endpoint_url", "AWS")
            return f"{endpoint} cannot be reached. Check the network, and AWS_ENDPOINT_URL if it is set."
        case _:
            return f"AWS cannot be used: {str(error).rstrip('.')}."


def _of_openai(fault: Exception) -> str | None:
    import openai  # noqa: PLC0415 - loaded already

    match fault:
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return f"OpenAI refuses OPENAI_API_KEY ({fault.status_code}): is it a key of the right project?"
        case openai.RateLimitError():
            return "OpenAI answered 429: a rate limit or your budget there is reached. Run the command again later."
        case openai.APIStatusError():
            return f"OpenAI answered {fault.status_code}. Run the command again later."
        case openai.APIConnectionError():
            url = fault.request.url
            return f"{url.scheme}://{url.host} cannot be reached. Check the network, and OPENAI_BASE_URL if it is set."
        case openai.OpenAIError():
            return "OPENAI_API_KEY is not set: set it to a key of the OpenAI project that you want to use."
        case _:
            return None
