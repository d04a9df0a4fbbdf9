//! Values that only who has a key can read, as crypt writes them: OpenPGP in base64 around gzip.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use camino::Utf8Path;
use flate2::read::GzDecoder;
use pgp::composed::{Deserializable, Message, SignedSecretKey, TheRing};
use pgp::types::Password;

/// Longest value that is decrypted.
const VALUE_BYTES_MAX: u64 = 64 << 20;

/// Secret keys without passwords.
pub(crate) struct Keyring(Vec<SignedSecretKey>);

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring({} keys)", self.0.len())
    }
}

impl Keyring {
    /// Reads the keys of a file, armored or not.
    pub(crate) fn read(path: &Utf8Path) -> Result<Self, String> {
        let bad = |why: String| format!("-secret-keyring: {path}: {why}");
        let bytes = std::fs::read(path).map_err(|err| bad(err.to_string()))?;
        let (keys, _) = SignedSecretKey::from_reader_many(&*bytes)
            .map_err(|err| bad(format!("it is no keyring: {err}")))?;
        let keys = keys.collect::<Result<Vec<_>, _>>().map_err(|err| bad(err.to_string()))?;
        match keys.is_empty() {
            true => Err(bad("it has no secret key".to_owned())),
            false => Ok(Self(keys)),
        }
    }

    /// What an encrypted value says.
    pub(crate) fn decrypt(&self, value: &[u8]) -> Result<Vec<u8>, String> {
        let compact: Vec<u8> = value.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
        let message = STANDARD.decode(compact);
        let message = message.map_err(|err| format!("the value is not encrypted: {err}"))?;
        let message = Message::from_bytes(&*message);
        let message = message.map_err(|err| format!("the value is not encrypted: {err}"))?;
        let no_password = Password::empty();
        let ring = TheRing {
            secret_keys: self.0.iter().collect(),
            key_passwords: vec![&no_password],
            ..TheRing::default()
        };
        let opened = message.decrypt_the_ring(ring, true).and_then(|(opened, _)| {
            if opened.is_compressed() { opened.decompress() } else { Ok(opened) }
        });
        let opened = opened.map_err(|err| format!("no key of the keyring opens it: {err}"))?;
        let mut plain = Vec::new();
        let mut unpacked = GzDecoder::new(opened).take(VALUE_BYTES_MAX + 1);
        unpacked
            .read_to_end(&mut plain)
            .map_err(|err| format!("its contents are damaged: {err}"))?;
        match plain.len() as u64 > VALUE_BYTES_MAX {
            true => Err(format!("it has more than {VALUE_BYTES_MAX} bytes")),
            false => Ok(plain),
        }
    }
}
