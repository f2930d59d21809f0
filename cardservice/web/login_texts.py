# SPDX-License-Identifier: EUPL-1.2
"""What the sign-in pages say, with the same words for a name that nobody has and for a wrong password."""

from collections.abc import Mapping
from typing import Final

from cardservice.web.i18n import marked

LOGIN_TEXTS: Final[Mapping[str, str]] = {
    "title": marked("Sign in"),
    "hint": marked("With your name and password, as at the PC."),
    "name": marked("Login"),
    "password": marked("Password"),
    "submit": marked("Sign in"),
    "wrong": marked("Login or password is wrong."),
    "limited": marked("Too many attempts. Please wait a few minutes and try again."),
    "unavailable": marked("The directory does not answer at the moment. Please try again shortly."),
    "out": marked("You are signed out."),
    "oidc": marked("Sign in with your organisation's account"),
    "oidc_refused": marked("Signing in there did not lead to anybody here. Please try again, or use your password."),
    "oidc_away": marked("The provider does not answer at the moment. Please use your password, or try again shortly."),
}

# Why somebody is not confirmed by what the provider said.
_CONFIRMING_THERE: Final[Mapping[str, str]] = {
    "only_there": marked(
        "You signed in with your organisation's account. Please confirm with it, not with a password."
    ),
    "not_again": marked("You were not asked there who you are. Please try again, and sign in there anew."),
    "somebody_else": marked("Somebody else signed in there. Please sign in there with the account shown here."),
    "oidc_refused": marked("Signing in there did not confirm who you are. Please try again."),
    "oidc_away": marked("The provider does not answer at the moment. Please try again shortly."),
}

CONFIRM_TEXTS: Final[Mapping[str, str]] = {
    "title": marked("Confirm your password"),
    "hint": marked("Before you change something, please enter your password once more."),
    "signed_in_as": marked("Signed in as"),
    "password": marked("Password"),
    "submit": marked("Confirm"),
    "wrong": marked("The password is wrong."),
    "limited": marked("Too many attempts. Please wait a few minutes and try again."),
    "unavailable": marked("The directory does not answer at the moment. Please try again shortly."),
    **_CONFIRMING_THERE,
}

# For whoever signed in at the provider.
CONFIRM_AGAIN_TEXTS: Final[Mapping[str, str]] = {
    "title": marked("Sign in once more"),
    "hint": marked("Before you change something, please sign in once more with your organisation's account."),
    "signed_in_as": marked("Signed in as"),
    "submit": marked("Sign in there once more"),
    "only_there": marked(
        "You signed in with your organisation's account. Please confirm with it, not with a password."
    ),
    "not_again": marked("You were not asked there who you are. Please try again, and sign in there anew."),
    "somebody_else": marked("Somebody else signed in there. Please sign in there with the account shown here."),
    "oidc_refused": marked("Signing in there did not confirm who you are. Please try again."),
    "oidc_away": marked("The provider does not answer at the moment. Please try again shortly."),
}
