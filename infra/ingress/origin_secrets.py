"""The secret by which CloudFront proves itself to the app, in generations. Knows neither of the two.

Raising `origin_secret_generation` makes a new one, which CloudFront sends from then on; the one before is still taken,
because the edges change over within minutes and not at once. The next raise deletes it.
"""

from aws_cdk import Acknowledgment, Validations
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

HEADER = "x-origin-secret"
SECRET_LENGTH = 48  # some 280 bits: nobody guesses it


class OriginSecrets(Construct):
    """The newest secret and the one before, made by AWS: no person and no template ever sees them."""

    def __init__(self, scope: Construct, construct_id: str, *, generation: int) -> None:
        super().__init__(scope, construct_id)
        kept = [n for n in (generation, generation - 1) if n >= 1]
        self.accepted = tuple(self._secret(n) for n in kept)

    @property
    def sent(self) -> str:
        """What CloudFront sends: a reference that CloudFormation resolves, never the secret itself."""
        return self.accepted[0].secret_value.unsafe_unwrap()

    def _secret(self, generation: int) -> secretsmanager.Secret:
        secret = secretsmanager.Secret(
            self,
            f"Generation{generation}",
            description=f"Sent by CloudFront as {HEADER}, generation {generation}",
            generate_secret_string=secretsmanager.SecretStringGenerator(
                password_length=SECRET_LENGTH, exclude_punctuation=True
            ),
        )
        Validations.of(secret).acknowledge(
            Acknowledgment(
                id="AwsSolutions-SMG4",
                reason="Rotated by raising origin_secret_generation: CloudFront must be told at the same time.",
            )
        )
        return secret
