# SPDX-License-Identifier: EUPL-1.2
"""What can be set of certificates on cards (a part of `settings.py`)."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

# A principal name, or a SID.
ACCOUNT_PATTERN: Final = r"^(S-1-[0-9]{1,14}(-[0-9]{1,10}){1,15}|[^@\x00-\x20]{1,100}@[^@\x00-\x20]{1,100})$"


class PkiSection(BaseModel):
    """Certificates on cards. What a logon authority means for a Windows domain is said in docs/certificates.md."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    store: Path | None = Field(
        None, description="The sealed file of our own authorities, mode 0600; none: there are none."
    )
    passphrase_file: Path = Field(
        Path("/run/credentials/cardservice.service/pki"), description="File with its passphrase."
    )
    url: str | None = Field(
        None,
        pattern=r"^http://[A-Za-z0-9.-]{1,200}(:[0-9]{1,5})?(/[A-Za-z0-9._-]{1,50})*$",
        description="Where others reach /pki of this service, by plain HTTP and often through a proxy, for example "
        "http://pki.example.org; it stands in every certificate.",
    )
    logon: Literal["outside", "signer", "software"] = Field(
        "outside",
        description="Who signs logon certificates: the city's own PKI, an authority whose key a process of its own has "
        "in a PKCS#11 token (cardservice cards pki signer), or (in the demonstration alone) one with its key in the "
        "sealed file.",
    )
    signer_socket: Path | None = Field(
        None, description="UNIX socket of that process, for example /run/cardservice-signer/socket."
    )
    pkcs11_module: Path | None = Field(None, description="For that process: library of the logon authority's token.")
    pkcs11_token: str | None = Field(None, description="For that process: the token's label.", max_length=32)
    pin_file: Path = Field(
        Path("/run/credentials/cardservice-signer.service/token"),
        description="For that process: file with the token's user PIN.",
    )
    never_for: tuple[Annotated[str, Field(pattern=ACCOUNT_PATTERN)], ...] = Field(
        (),
        max_length=1_000,
        description="For that process: accounts (UPN or SID) that get no certificate whoever asks; domain "
        "administrators above all.",
    )
    logons_per_hour: int = Field(
        500, ge=1, le=100_000, description="For that process: at most so many logon certificates an hour."
    )
    outside_ca_files: tuple[Path, ...] = Field(
        (),
        max_length=8,
        description="PEM certificates of the city's PKI, one of which signs what it issues for cards.",
    )
    card_days: int = Field(1_095, ge=1, le=3_650, description="How long certificates of slots 9C, 9D and 9E are valid.")
    logon_days: int = Field(365, ge=1, le=1_095, description="How long our own logon certificates are valid.")
    logon_rsa_bits: Literal[2048, 3072] = Field(3072, description="The shortest RSA key a logon certificate may have.")
    pkinit_eku: bool = Field(False, description="Logon certificates name id-pkinit-KPClientAuth besides.")
    realm: str | None = Field(
        None,
        pattern=r"^[A-Z0-9.-]{1,200}$",
        description="Kerberos realm; logon certificates then name login@REALM besides the UPN.",
    )
    crl_hours: int = Field(24, ge=2, le=168, description="How long a revocation list counts.")
    crl_every_hours: int = Field(6, ge=1, le=84, description="How often there is a new one although nothing changed.")
    ocsp_minutes: int = Field(60, ge=5, le=1_440, description="How long an answer by OCSP counts.")
    renew_days: int = Field(30, ge=1, le=365, description="How long before its end a certificate is to be renewed.")
    ticket_hours: int = Field(10, ge=1, le=168, description="How long Kerberos tickets of the domain live.")

    @field_validator("store", "url", "signer_socket", "pkcs11_module", "pkcs11_token", "realm", mode="before")
    @classmethod
    def _empty_is_not_set(cls, value: Any) -> Any:
        """Read an empty text as "not set": TOML has no word for it."""
        return None if value == "" else value
