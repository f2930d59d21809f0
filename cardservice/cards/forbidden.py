# SPDX-License-Identifier: EUPL-1.2
"""Keys that must never protect a card: trivial ones, published examples, vendors' defaults, our own demonstration keys.

Checked wherever a key enters: import, generation, personalisation.
"""

import hashlib
import itertools
from functools import cache
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_PUBLISHED: Final = frozenset(
    bytes.fromhex(key)
    for key in (
        "00112233445566778899AABBCCDDEEFF",  # NXP AN10922, FIPS 197
        "F3F9377698707B688EAF84ABE39E3791",  # NXP AN10957
        "2B7E151628AED2A6ABF7158809CF4F3C",  # NIST SP 800-38B
        "000102030405060708090A0B0C0D0E0F",  # FIPS 197
        "303132333435363738393A3B3C3D3E3F",  # OSDP SCBK-D
        "404142434445464748494A4B4C4D4E4F",  # GlobalPlatform default
        "FEDCBA98765432100123456789ABCDEF",  # common test key
        "0123456789ABCDEFFEDCBA9876543210",  # common test key
        "79702553797025537970255379702553",  # proxmark dictionary
        "4E617468616E2E4C69204E6574776F72",  # proxmark dictionary
        "43464F494D48504E4C4359454E528841",  # proxmark dictionary
        "6AC292FAA1315B4D858AB3A3D7D5933A",  # proxmark dictionary
        "3112B738D8862CCD34302EB299AAB456",  # proxmark dictionary: Gallagher
        # The rest of RfidResearchGroup/proxmark3, client/dictionaries/mfdes_default_keys.dic and mfp_default_keys.dic,
        # that neither repeats nor counts: those rules refuse the others of it.
        "4E617468616E2E4C6920546564647920",  # a name as text
        "47454D5850524553534F53414D504C45",  # Gemalto's sample
        "FBEED618357133667C85E08F7236A8DE",
        "F7DDAC306AE266CCF90BC11EE46D513B",
        "54686973206973206D79206B65792020",  # "This is my key"
        "C238E449F725B1510EAA699550CABA16",  # J2A040
        "00010203040506070809101112131415",
        "01020304050607080910111213141516",
        "16151413121110090807060504030201",
        "15141312111009080706050403020100",
        "9CABF398358405AE2F0E2B3D31C99A8A",  # a vendor's default
        "22094904FF22677E5D28C6E3ED4F694C",
        # client/dictionaries/mfulc_default_keys.dic, and the order it has on the chip
        "425245414B4D454946594F5543414E21",  # "BREAKMEIFYOUCAN!"
        "49454D4B41455242214E4143554F5946",  # NXP Ultralight C
        # The test key of AES-GCM (McGrew and Viega, test cases 3 to 6)
        "FEFFE9928665731C6D6A8F9467308308",
    )
)
# SHA-256 of the keys made from the published demonstration seed (hardware-sim/city): known to everybody.
DEMONSTRATION_SHA256: Final = frozenset(
    {
        "042003eb5fc5339eb8a79921ed1a0a9c0b7705bf7256b5631ba30fc2de3b7997",
        "0abcb330a6e87bd6cfe5d172ddb8a5e726853b55545347d75dcea7037f9427ca",
        "169f6e750e0790df858e60799f5786c098b4a179722b4bf81cd752ce89561720",
        "19a479be378f4c4bc3afee2b01e3c84e2d527b5f2b1e8467413757e23fd4a7f5",
        "24fb54235dc8c2b3fdeeaec3278dc6ac937bde5baa2587b6738dd64ab3772bd7",
        "29441e739c05ace259b65d3884049f5cd16f0de84a4cf6cc0eedbdf75e38c434",
        "2ec1628c8351e9f99e1773ca90fb25fb373d278bf3102bddd08ef590b05df4b3",
        "3a8e34ec22a3fea274a10ea448f3360dac707b9d287d3175d0fca8f6e45dc256",
        "4e40d4169fa402fd05dd569f3d005e64f5cc33d912f039c9eb191e3de6a11d3f",
        "5f16a0e40a500f6de412b2bfa2c64adce7374b8a0d92320699bf3f3661bc6b1f",
        "5fc8577ac843915e8bbf9646d4f3dd14e2e06e701cf99f9fb0e247ad6411bf9e",
        "6073b156c92264bdc9db1d0f632353339f9336710312df96cc2c75d1c5263ec1",
        "61b02680e02242646d5a764786bdb166c8943c5732425ceccdbe0fb3e7a2807f",
        "6a56e8288c3fd0374fc9adc2f899274232a87ff6252d592f067bd83d5ebc12ea",
        "6cc577ed4817d5383629356511d35ef319c3c321c0eda017505befb68bb8e0da",
        "6ef2c0c78697ec5b439d574390d109fafb1555f2f01d9b70a55071a844ee97a9",
        "8c3fa1a5ba41cd3f3f8132d1f7971781f1651e33b2b16410a135662c68410290",
        "8f81dbadc35ca652c49a760e1e4f200766dff922b4a94f27362f50d962722d3c",
        "adc2dbfd0d6b1341a9473b29d566ad981af540a749d88b0d502ee81fa78b167a",
        "aefa2b4c80e4b562d5b5f89e130716b5bc23723e3af45efb8feebb5347d54593",
        "b4d96caea1552408df237e4e14aca7046b16000ee92b28b9faf3eeb85caa9225",
        "cc0d20a224812837259e9e1b2cc0962daf4ac7219796e1c168e1a330c42a6a8b",
        "d5a371d2df9e7fcc8b85e9adc436e683af4aed3a91012a0cd0dc1c4577d1dae9",
        "da38a5297a7f2f5901fb99cb9d09e0989f30cda1e976aa28c0b4574cf567176b",
        "e21488b700445d49220dee71135dbbb5985c671b6df96890553f0a0b35fa229e",
        "e41eb733959fc42792e46255503cf4ea18f942adc86aba139bc26d5205af4cef",
    }
)


def check_value(key: bytes) -> bytes:
    """Return what a key makes of a block of zeros: by that, a key that lies in a token unreadable is recognised."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305  # one block: no mode is involved
    return encryptor.update(bytes(16)) + encryptor.finalize()


@cache
def _known_check_values() -> frozenset[bytes]:
    """Published keys, and the trivial ones that are few enough to be tried."""
    same = {bytes((one,)) * 16 for one in range(256)}
    counting = {bytes((start + step * place) % 256 for place in range(16)) for start in range(256) for step in (1, 255)}
    return frozenset(check_value(key) for key in _PUBLISHED | same | counting)


def why_check_value_forbidden(value: bytes) -> str | None:
    """Return why a key must not be used of which only the check value is known, None if nothing speaks against it."""
    return "it is a published example or a vendor's default" if value in _known_check_values() else None


def why_forbidden(key: bytes, *, demonstration: bool = False) -> str | None:
    """Return why `key` (16 bytes) must not be used, None if nothing speaks against it.

    `demonstration` allows the published demonstration keys, and nothing else.
    """
    if any(key == key[:period] * (len(key) // period) for period in (1, 2, 4, 8)):
        return "it repeats itself"
    if len({(later - earlier) % 256 for earlier, later in itertools.pairwise(key)}) == 1:
        return "it is a sequence"
    if key in _PUBLISHED:
        return "it is a published example or a vendor's default"
    if not demonstration and hashlib.sha256(key).hexdigest() in DEMONSTRATION_SHA256:
        return "it is a published demonstration key; real cards need keys of their own"
    return None
