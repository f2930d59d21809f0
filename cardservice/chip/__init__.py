# SPDX-License-Identifier: EUPL-1.2
"""The card language: what is said to a chip card, and what its answers mean.

Nothing here does I/O or reads a clock. A protocol step is a generator (`conversation.Conversation`) that yields
batches of command APDUs and receives the batch of responses, so a local reader, a reader relayed by an agent and a
test drive the same code. Keys stay behind a Protocol (`keys.CardKey`), randomness and instants are arguments.

    conversation          the shape of a conversation, how to drive one, the transcript that becomes its evidence
    errors  status        the error tree; from status words to errors
    apdu  tlv             ISO 7816-4: command and response APDUs, chaining, BER-TLV
    keys                  AES-128 card keys and AN10922 diversification
    desfire_messaging     EV2 secure messaging: session keys, initial vectors, MACs
    desfire               DESFire commands and the session after AuthenticateEV2First
    layout                what our cards hold: uses, applications, the number file
    locate                the tap on a DESFire card: find the number of one use and prove the card
    piv                   SP 800-73: the PIV application and the proof by its card authentication key
    piv_certificate       which card authentication certificates are accepted, and why not
"""
