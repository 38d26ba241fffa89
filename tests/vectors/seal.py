# SPDX-License-Identifier: MIT
"""The other direction of decode.py: seal the structures of docs/format.md.
For make_vectors.py and test_decode.py."""

import hashlib
import struct

from decode import AESSIV, aead, base64url, blake2b, canonical, le16, le32, le64, nacl

NONCE = bytes(range(1, 13))


def seal(suite, key, nonce, plain, aad):
    """Tag and ciphertext."""
    sealed = aead(suite, key).encrypt(nonce, plain, aad)
    return sealed[-16:], sealed[:-16]


def box(key, plain, aad):
    tag, ciphertext = seal(1, key, NONCE, plain, aad)
    return NONCE + tag + ciphertext


def siv(key, owner_id, text):
    return AESSIV(key).encrypt(text + bytes(-len(text) % 16), [owner_id])


def name(keys, dir_id, plain):
    """The stored name, and the content of its sidecar or None."""
    sealed = siv(keys.names, dir_id, plain)
    if len(plain) <= 160:
        return base64url(sealed), None
    return b"long." + base64url(blake2b(sealed, 32)), sealed


def record(keys, dir_id, binding):
    raw = b"cryptfsD" + dir_id + binding + bytes(16)
    return raw + blake2b(b"dirrec" + raw, 16, keys.directory)


def link(keys, dir_id, stored, target):
    return base64url(box(keys.links, target, b"link" + dir_id + stored))


def xattr(keys, owner_id, plain, value):
    """The stored name and value."""
    return (b"user.cryptfs." + base64url(siv(keys.xattr_names, owner_id, plain)),
            box(keys.xattr_values, value, b"xattr" + owner_id + plain))


def block(keys, file_id, index, sequence, plain):
    """The half-entry and the ciphertext, under a nonce made from all of it."""
    nonce = hashlib.sha256(le64(index) + le32(sequence) + plain).digest()[:12]
    aad = le64(index) + le32(sequence) + le16(keys.suite) + le16(1)
    tag, ciphertext = seal(keys.suite, keys.file(file_id), nonce, plain, aad)
    return nonce + tag + le32(sequence), ciphertext


def header(keys, file_id, binding, length, flags, sequence=7, small=bytes(32), cut=0,
           moving=bytes(32)):
    """A header slot; small is the half that block() gives for small content."""
    payload = struct.pack("<QI", length, flags) + binding + bytes(16) + small[:28]
    payload = (payload + le64(cut) + moving).ljust(436, b"\0")
    clear = b"cryptfsH" + file_id + le64(sequence)
    nonce = hashlib.sha256(clear + payload).digest()[:12]
    tag, sealed = seal(keys.suite, keys.file(file_id), nonce, payload,
                       clear + le16(keys.suite) + le16(1))
    return clear + nonce + tag + sealed


def place(keys, file_id, sequence, here, there):
    raw = le64(sequence) + here + there
    return raw + blake2b(b"place" + file_id + raw, 16, keys.directory)


def part(keys, epoch):
    raw = b"cryptfsJ" + le64(epoch)
    return (raw + blake2b(b"journal" + raw, 16, keys.directory)).ljust(512, b"\0")


def record_of(keys, file_id, index, length, payload, half=bytes(32), epoch=0x1122334455667788,
              sequence=7, slot=0):
    """A record of the journal."""
    raw = b"cryptfsR" + struct.pack("<Q32sQQQQII32sQI12s", epoch, file_id, 4711, sequence, index,
                                    length, slot, len(payload), half, 1234567890, 987654321, b"")
    return raw + blake2b(b"journal" + raw + payload, 16, keys.directory) + payload


def config(keys, suite, passphrase, vault_id=bytes(range(16))):
    """A configuration with one slot, as an object."""
    slot = {"id": 1, "type": "passphrase", "label": "pass\"phr\u00e4se",
            "kdf": {"name": "argon2id", "memory": 8 << 20, "operations": 1}, "salt": "0f" * 16}
    kek = nacl.bindings.crypto_pwhash_alg(32, passphrase, b"\x0f" * 16, 1, 8 << 20,
                                          nacl.bindings.crypto_pwhash_ALG_ARGON2ID13)
    nonce = bytes(range(24))
    wrapped = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
        keys.master, vault_id + le32(1) + canonical(slot), nonce, kek)
    whole = {"version": 1, "min_reader": 1, "id": vault_id.hex(), "suite": suite, "flags": [],
             "created": 1700000000,
             "slots": [dict(slot, nonce=nonce.hex(), wrapped=wrapped.hex())]}
    whole["mac"] = blake2b(canonical(whole), 32, keys.config).hex()
    return whole
