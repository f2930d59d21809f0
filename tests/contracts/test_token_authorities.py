# SPDX-License-Identifier: EUPL-1.2
"""An authority for logon whose key is in a real PKCS#11 token (SoftHSM): it signs there and never leaves."""

from collections.abc import Iterator
from pathlib import Path

import pkcs11
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11 import Attribute, ObjectClass
from support.pki import PASSPHRASE, RULES, signed
from support.softhsm import SoftToken, fresh_token

from cardservice.cards.keys import sealing
from cardservice.cards.pki.authorities import AuthorityFile
from cardservice.cards.pki.rules import AuthorityKind, Slot
from cardservice.cards.pki.signing import delegate, sign_list
from cardservice.cards.ports import KeyRefused, TokenTrouble
from cardservice.errors import KeyStoreError
from integrations.pkcs11 import Token, TokenSettings
from integrations.pkcs11.authorities import TokenAuthorities

pytestmark = pytest.mark.softhsm
NOW_MS = 1_773_651_600_000


@pytest.fixture
def soft_token() -> SoftToken:
    return fresh_token()


@pytest.fixture
def token(soft_token: SoftToken) -> Iterator[Token]:
    opened = Token(TokenSettings(soft_token.module, soft_token.label, lambda: soft_token.pin))
    yield opened
    opened.close()


@pytest.fixture
def file(tmp_path: Path, token: Token, monkeypatch: pytest.MonkeyPatch) -> AuthorityFile:
    monkeypatch.setattr(sealing, "SCRYPT", {"n": 2, "r": 8, "p": 1})
    return AuthorityFile(tmp_path / "pki.json", lambda: PASSPHRASE, TokenAuthorities(token))


def test_a_logon_certificate_is_signed_inside_the_token(file: AuthorityFile, token: Token) -> None:
    """Certificate, list and delegate check out with the authority's certificate; the file holds no key of it."""
    file.init(AuthorityKind.LOGON, RULES.organisation, NOW_MS)
    found = file.load()
    authority = found.of_kind(AuthorityKind.LOGON)
    assert authority.in_token
    signed(found, Slot.LOGON, NOW_MS).verify_directly_issued_by(authority.certificate)
    delegate(authority, NOW_MS).certificate.verify_directly_issued_by(authority.certificate)
    assert sign_list(authority, 1, [], RULES, NOW_MS)
    content = sealing.open_file(file.path, PASSPHRASE).content
    assert [one["key"] for one in content["authorities"]] == [None]

    def rights(session: pkcs11.Session, _: int) -> dict[Attribute, object]:
        (key,) = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
        return {one: key[one] for one in (Attribute.SENSITIVE, Attribute.EXTRACTABLE, Attribute.NEVER_EXTRACTABLE)}

    assert token.run(rights) == {
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        Attribute.NEVER_EXTRACTABLE: True,
    }
    with pytest.raises(ValueError, match="lies elsewhere"):
        authority.key.private_numbers()


def test_an_authority_for_cards_stays_out_of_the_token(file: AuthorityFile, token: Token) -> None:
    """Two authorities, two places: who has the one cannot sign with the other."""
    for kind in AuthorityKind:
        file.init(kind, RULES.organisation, NOW_MS)
    card, logon = file.load()
    assert (card.in_token, logon.in_token) == (False, True)
    assert isinstance(card.key, ec.EllipticCurvePrivateKey)
    with pytest.raises(KeyRefused, match="already"):
        TokenAuthorities(token).make("logon-1")
    with pytest.raises(TokenTrouble, match="no key of authority"):
        TokenAuthorities(token).public_key("card-1")


def test_without_its_token_an_authority_signs_nothing(file: AuthorityFile, soft_token: SoftToken) -> None:
    """Said in one sentence; with the token back it signs again."""
    file.init(AuthorityKind.LOGON, RULES.organisation, NOW_MS)
    without = AuthorityFile(file.path, file.passphrase)
    with pytest.raises(KeyStoreError, match="no token is set up"):
        without.load()
    found = file.load()
    away = soft_token.away()
    try:
        # The service starts, and doors open, while the token of the logon authority is away.
        assert file.load().of_kind(AuthorityKind.LOGON).in_token
        with pytest.raises(KeyStoreError):
            signed(found, Slot.LOGON, NOW_MS)
    finally:
        assert away.exists()
        soft_token.back()
    assert signed(found, Slot.LOGON, NOW_MS)


def test_another_key_under_the_same_name_signs_nothing(file: AuthorityFile, tmp_path: Path) -> None:
    """A token that was made anew, or exchanged: its signatures are refused before they are in a certificate."""
    file.init(AuthorityKind.LOGON, RULES.organisation, NOW_MS)
    other = fresh_token()
    opened = Token(TokenSettings(other.module, other.label, lambda: other.pin))
    AuthorityFile(tmp_path / "other.json", file.passphrase, TokenAuthorities(opened)).init(
        AuthorityKind.LOGON, RULES.organisation, NOW_MS
    )
    found = AuthorityFile(file.path, file.passphrase, TokenAuthorities(opened)).load()
    with pytest.raises(KeyStoreError, match="not the one of its certificate"):
        signed(found, Slot.LOGON, NOW_MS)
    opened.close()
