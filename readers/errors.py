# SPDX-License-Identifier: EUPL-1.2
"""Every error of the reader agent.

AgentError
├── SettingsFault     the configuration is wrong; the message names each setting
├── IdentityFault     the agent's key is missing, unreadable or readable by others
├── OutboxFault       the outbox cannot be opened, or a write did not become durable
├── ChannelFault      one attempt to talk to the centre failed; it is tried again
│   └── CentreRefused the centre ended the connection and said why
├── ReaderError
│   ├── CardGone      the card is no longer there (or was reset) in the middle of something
│   └── ReaderFault   the reader, its driver or a mute card: nothing the holder did
└── WorkerBusy        a worker thread has more waiting than is sensible: its device hangs
"""


class AgentError(Exception):
    """Whatever the reader agent itself raises."""


class SettingsFault(AgentError):
    """The configuration is wrong; the message names each setting and what is allowed."""


class IdentityFault(AgentError):
    """The agent's key is missing, unreadable, or readable by others."""


class OutboxFault(AgentError):
    """The outbox cannot be opened, or what should have become durable did not."""


class ChannelFault(AgentError):
    """One attempt to talk to the centre failed; the channel tries again."""


class CentreRefused(ChannelFault):
    """The centre refused this agent; `code` is the wire's reason."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class ReaderError(AgentError):
    """A card or reader did not do what was asked."""


class CardGone(ReaderError):
    """The card was taken away, swapped or reset before the answer was complete."""


class ReaderFault(ReaderError):
    """The reader or its driver failed, or the card in it is mute; not something the holder did."""


class WorkerBusy(AgentError):
    """The thread of a device has too much waiting: the device hangs."""
