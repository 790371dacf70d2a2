"""Authentication: turns a bearer token into a User. Only this package reads Authorization; it knows no chats.

bearer.py            the Authorization header, the opaque user id, several authenticators in a row
jwt_claims.py        checks that every JWT must pass, whoever signed it
oidc.py              tokens of an OpenID issuer, whose public keys are downloaded
backend_tokens.py    tokens that the customer's own backend signs; its public keys are a setting
guest_tokens.py      tokens that this server signs for guests
guest_access.py      new guests and their daily limits
operators.py         who may answer in the assistant's place
account_linking.py   moves a guest's threads to the account that the guest signed in to
"""

from lambda_src.auth.backend_tokens import BackendToken
from lambda_src.auth.bearer import Authenticate, FirstOf, user_of
from lambda_src.auth.guest_tokens import GuestTokens
from lambda_src.auth.oidc import BearerToken, IssuerKeys, fetch, fetch_https

__all__ = [
    "Authenticate",
    "FirstOf",
    "user_of",
    "BearerToken",
    "IssuerKeys",
    "fetch",
    "fetch_https",
    "BackendToken",
    "GuestTokens",
]
