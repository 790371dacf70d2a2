"""A Cognito user pool with a hosted sign-in page, for teams that have no identity provider. Knows no chat.

It belongs to the data stack: users' threads are stored under the pool's id, and a new pool would have another id.
"""

from aws_cdk import Acknowledgment, Duration, RemovalPolicy, Stack, Validations
from aws_cdk import aws_cognito as cognito
from constructs import Construct

from infra.stage.sections import CognitoConfig

PASSWORD_LENGTH = 12
TOKEN_H = 1  # lifetime of an access token; the page renews it
SESSION_DAYS = 30  # until people must sign in again


class SignIn(Construct):
    """A pool, one public client (PKCE, no secret) and the hosted page.

    Tokens contain `issuer` and `client_id`. The page sends people to `url`, and gets their tokens there.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: CognitoConfig, disposable: bool) -> None:
        super().__init__(scope, construct_id)
        pool = cognito.UserPool(
            self,
            "Users",
            self_sign_up_enabled=config.self_sign_up,
            sign_in_aliases=cognito.SignInAliases(email=True),
            auto_verify=cognito.AutoVerifiedAttrs(email=True),
            password_policy=cognito.PasswordPolicy(
                min_length=PASSWORD_LENGTH,
                require_digits=True,
                require_lowercase=True,
                require_symbols=True,
                require_uppercase=True,
            ),
            mfa=cognito.Mfa.OPTIONAL,
            mfa_second_factor=cognito.MfaSecondFactor(otp=True, sms=False),
            account_recovery=cognito.AccountRecovery.EMAIL_ONLY,
            feature_plan=cognito.FeaturePlan.ESSENTIALS,
            deletion_protection=not disposable,
            removal_policy=RemovalPolicy.DESTROY if disposable else RemovalPolicy.RETAIN,
        )
        client = pool.add_client(
            "Page",
            generate_secret=False,  # a browser cannot keep a secret
            auth_flows=cognito.AuthFlow(user_srp=True),
            o_auth=cognito.OAuthSettings(
                flows=cognito.OAuthFlows(authorization_code_grant=True),
                scopes=[cognito.OAuthScope.OPENID, cognito.OAuthScope.EMAIL],
                callback_urls=list(config.callback_urls),
                logout_urls=list(config.callback_urls),
            ),
            access_token_validity=Duration.hours(TOKEN_H),
            refresh_token_validity=Duration.days(SESSION_DAYS),
            prevent_user_existence_errors=True,
            enable_token_revocation=True,
        )
        domain = pool.add_domain(
            "Domain", cognito_domain=cognito.CognitoDomainOptions(domain_prefix=config.domain_prefix)
        )
        self.client_id = client.user_pool_client_id
        self.issuer = f"https://cognito-idp.{Stack.of(self).region}.{Stack.of(self).url_suffix}/{pool.user_pool_id}"
        self.url = domain.base_url()
        self.page = domain.sign_in_url(client, redirect_uri=config.callback_urls[0])
        Validations.of(pool).acknowledge(
            Acknowledgment(
                id="AwsSolutions-COG2", reason="Each user may turn a second factor on; a chat does not demand it."
            ),
            Acknowledgment(
                id="AwsSolutions-COG8",
                reason="The Plus plan costs for every user. "
                + (
                    "Where anybody may open an account, a ceiling on the stage's tokens is required."
                    if config.self_sign_up
                    else "Nobody opens an account here but you; passwords are long, a second factor is possible."
                ),
            ),
        )
