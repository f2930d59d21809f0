# SPDX-License-Identifier: EUPL-1.2
"""Errors of the directory double, and the LDAP result codes it answers with (RFC 4511, section 4.1.9)."""

from enum import IntEnum


class ResultCode(IntEnum):
    """The result codes this server uses (RFC 4511, appendix A)."""

    SUCCESS = 0
    OPERATIONS_ERROR = 1
    PROTOCOL_ERROR = 2
    TIME_LIMIT_EXCEEDED = 3
    SIZE_LIMIT_EXCEEDED = 4
    COMPARE_FALSE = 5
    COMPARE_TRUE = 6
    AUTH_METHOD_NOT_SUPPORTED = 7
    STRONGER_AUTH_REQUIRED = 8
    ADMIN_LIMIT_EXCEEDED = 11
    UNAVAILABLE_CRITICAL_EXTENSION = 12
    NO_SUCH_ATTRIBUTE = 16
    UNDEFINED_ATTRIBUTE_TYPE = 17
    CONSTRAINT_VIOLATION = 19
    ATTRIBUTE_OR_VALUE_EXISTS = 20
    INVALID_ATTRIBUTE_SYNTAX = 21
    NO_SUCH_OBJECT = 32
    INVALID_DN_SYNTAX = 34
    INAPPROPRIATE_AUTHENTICATION = 48
    INVALID_CREDENTIALS = 49
    INSUFFICIENT_ACCESS = 50
    BUSY = 51
    UNAVAILABLE = 52
    UNWILLING_TO_PERFORM = 53
    NAMING_VIOLATION = 64
    OBJECT_CLASS_VIOLATION = 65
    NOT_ALLOWED_ON_NON_LEAF = 66
    ENTRY_ALREADY_EXISTS = 68
    AFFECTS_MULTIPLE_DSAS = 71


class DirectorySimError(Exception):
    """Every error this package raises on purpose."""


class BerError(DirectorySimError):
    """Bytes are not BER within the bounds of this server."""


class DnError(DirectorySimError):
    """Text is not a distinguished name (RFC 4514)."""


class LdifError(DirectorySimError):
    """Text is not LDIF content records (RFC 2849); the message names the line."""


class ConfigurationError(DirectorySimError):
    """The server cannot be built from these settings or this initial content."""


class OperationError(DirectorySimError):
    """An LDAP operation ends with a result other than success."""

    def __init__(self, code: ResultCode, text: str = "", *, matched_dn: str = "") -> None:
        super().__init__(f"{code.name.lower()}: {text}" if text else code.name.lower())
        self.code = code
        self.text = text
        self.matched_dn = matched_dn
