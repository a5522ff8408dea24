"""Names that say nothing, in place of those of people, sessions, recordings and pictures."""

from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from neuroleon.common.errors import ConfigError

LEAST_KEY_BYTES = 16
KEYED_BY = {  # what the manifest says -> in words
    "keyed": "keyed by your file: keep it apart from the shards, who has it and a list of the names can undo them",
    "recipe": "keyed by the recipe's name alone: a list of the names undoes them; if that matters, give --key FILE",
}


@dataclass(frozen=True)
class Pseudonyms:
    """The pseudonyms of one data set, such as `s3f9a01bc77d2`: the same for the same name, recipe and secret.

    Without a secret the recipe's name alone keys them, which everyone knows: whoever has a list of names can try each.
    That is right for public sets, whose names are numbers, and for no others.
    """

    recipe: str
    secret: bytes = field(default=b"", repr=False)  # of `read_secret`

    def __call__(self, name: str, prefix: str) -> str:
        """The pseudonym of a name; nothing for no name."""
        if not name:
            return ""
        key = blake2b(self.recipe.encode(), key=self.secret).digest()
        return prefix + blake2b(name.encode(), key=key, digest_size=6).hexdigest()

    def place(self, name: str) -> str:
        """What a name is sorted by: itself, or with a secret its pseudonym, because the order of names tells them."""
        return self(name, "") if self.secret else name

    @property
    def fingerprint(self) -> str:
        """Which secret it is, without telling it."""
        return blake2b(b"which secret", key=self.secret, digest_size=16).hexdigest()


def read_secret(path: Path | None) -> bytes:
    """What a key file makes of names: a hash of its content without white space at the ends; b"" without a file.

    Raises:
        ConfigError: absent, or fewer than 16 bytes.
    """
    if path is None:
        return b""
    make = "make one with: python -c 'import secrets; print(secrets.token_hex(32))' > FILE"
    try:
        content = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"--key {path}: cannot be read ({error.strerror}); {make}") from None
    if len(content) < LEAST_KEY_BYTES:
        raise ConfigError(f"--key {path}: {len(content)} bytes, expected at least {LEAST_KEY_BYTES}; {make}")
    return blake2b(content).digest()
