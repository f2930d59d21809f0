# SPDX-License-Identifier: EUPL-1.2
"""The card language: what is said to a chip card, and what its answers mean.

Nothing here does I/O or reads a clock. A protocol step is a generator (`conversation.Conversation`) that yields
batches of command APDUs and receives the batch of responses, so a local reader, a reader relayed by an agent and a
test drive the same code. Keys stay behind a Protocol (`keys.CardKey`), randomness and instants are arguments.

    conversation          the shape of a conversation, how to drive one, the transcript that becomes its evidence
    errors  status        the error tree; from status words to errors
    apdu  tlv             ISO 7816-4: command and response APDUs, chaining, BER-TLV
    keys                  AES-128 card keys and AN10922 diversification
    desfire_messages      DESFire commands before they are protected, and the port to what protects them
    desfire_messaging     EV2 secure messaging: session keys, initial vectors, MACs
    desfire_ev1           EV1 secure messaging, and that of the first DESFire; desfire_des: the keys of the factory
    desfire               commands that can share an exchange, and the session of a tap
    desfire_authentication  the authentications before EV2
    desfire_selected      what every level of a card understands; desfire_card, desfire_application: what is their own
    desfire_formats       what commands carry and answer, as values
    desfire_layout        our layout as DESFire applications, files and keys; the steps of a work
    desfire_personalise   a blank card becomes one of ours; desfire_erase: and stock again
    desfire_rollover      new keys for a card in use
    originality           whether a chip is its maker's
    open_reading          what a card tells without a key; privacy_scan: by what it could be followed; probe: what it is
    layout                what our cards hold: uses, applications, the number file
    locate                the tap on a DESFire card: find the number of one use and prove the card
    piv                   SP 800-73: the proof of a card by its card authentication key
    piv_formats  piv_keys  what the PIV application holds, as values; its key pairs and their signatures
    piv_session           the selected PIV application with the standard's commands; piv_management: its key 9B
    piv_plan              what a fresh PIV card is to become; piv_personalise: how it becomes that
    piv_yubico            what Yubico's cards do beside the standard
    piv_certificate       which card authentication certificates are accepted, and why not
"""
