# SPDX-License-Identifier: EUPL-1.2
"""A program that uses one token by PKCS#11: `python pkcs11_client.py MODULE LABEL PIN POINT`; prints one JSON object.

POINT is a public P-256 point (04, X, Y in hex), with which the key of slot 9D agrees.
"""

import json
import sys

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.mechanisms import KDF

MESSAGE = b"what the holder signs"
AUTHENTICATION, SIGNATURE, MANAGEMENT = b"\x01", b"\x02", b"\x03"


def main(module: str, label: str, pin: str, point: str) -> int:
    """Open, log in, sign twice, agree once."""
    token = pkcs11.lib(module).get_token(token_label=label)
    with token.open(user_pin=pin) as session:
        rsa = session.get_key(object_class=ObjectClass.PRIVATE_KEY, id=AUTHENTICATION)
        signed = rsa.sign(MESSAGE, mechanism=Mechanism.SHA256_RSA_PKCS)
        own = session.get_key(object_class=ObjectClass.PRIVATE_KEY, id=MANAGEMENT)
        shared = own.derive_key(
            KeyType.GENERIC_SECRET,
            256,
            mechanism=Mechanism.ECDH1_DERIVE,
            mechanism_param=(KDF.NULL, None, bytes.fromhex(point)),
            template={Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True},
        )
        answers = {"signature": signed.hex(), "secret": shared[Attribute.VALUE].hex()}
    print(json.dumps(answers))  # noqa: T201 - a program's answer
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
