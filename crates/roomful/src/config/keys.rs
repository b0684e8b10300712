//! The key pairs whose tokens are accepted.

use std::collections::BTreeMap;
use std::path::Path;

use roomful_sfu::token::{ApiKey, ApiKeys, ApiSecret};

use super::{ConfigError, Flags, values};

/// Shortest API secret accepted without a warning, in bytes: the output length of the hash behind
/// HS256, below which a stolen token can be attacked offline (RFC 7518 §3.2).
const STRONG_SECRET_BYTES: usize = 32;

/// Largest file of keys read, in bytes: a wrong path is refused before it fills the memory.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// `--keys` (or `ROOMFUL_KEYS`) wins over the file that `key_file` names, as LiveKit has it; that over `LIVEKIT_KEYS`, and
/// that over the keys of the configuration.
pub(super) fn read(
    flags: &Flags,
    file: Option<BTreeMap<String, String>>,
    key_file: Option<&Path>,
    warnings: &mut Vec<String>,
) -> Result<ApiKeys, ConfigError> {
    let pairs = match (&flags.keys, key_file, &flags.livekit_keys) {
        (Some(pairs), ..) => values::parse_keys(pairs)
            .map_err(|error| ConfigError::new(format!("--keys (ROOMFUL_KEYS): {error}")))?,
        (None, Some(path), _) => read_file(path)?.into_iter().collect(),
        (None, None, Some(pairs)) => values::parse_keys(pairs)
            .map_err(|error| ConfigError::new(format!("LIVEKIT_KEYS: {error}")))?,
        (None, None, None) => file.unwrap_or_default().into_iter().collect(),
    };
    let mut keys = ApiKeys::default();
    for (key, secret) in pairs {
        if key.is_empty() || secret.is_empty() {
            return Err(ConfigError::new("keys: neither a key nor its secret may be empty"));
        }
        let secret = ApiSecret::new(secret);
        if secret.byte_len() < STRONG_SECRET_BYTES {
            warnings.push(format!(
                "the secret of API key {key:?} has {} characters: use at least \
                 {STRONG_SECRET_BYTES}, so that nobody finds it by trying",
                secret.byte_len(),
            ));
        }
        keys.insert(ApiKey::new(key), secret);
    }
    Ok(keys)
}

/// The pairs in a file of their own, one a line. Errors quote nothing of it.
fn read_file(path: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    let wrong = |text: &str| ConfigError::new(format!("key_file {}: {text}", path.display()));
    let unreadable = |error: std::io::Error| wrong(&format!("cannot be read: {error}"));
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if is_for_others(&metadata) {
        return Err(wrong("others on this machine may open it: take that from them (chmod o-rwx)"));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(wrong("it is too large for a file of keys"));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    serde_saphyr::from_str(&text)
        .map_err(|_| wrong("must hold lines of \"key: secret\", each key once"))
}

/// Whether accounts that neither own the file nor are of its group may do anything with it.
fn is_for_others(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o007 != 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// What a file with this text and mode says.
    fn read_with(text: &str, mode: u32) -> Result<BTreeMap<String, String>, String> {
        let name = format!("roomful-keys-{}-{mode:o}-{}", std::process::id(), text.len());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let read = read_file(&path).map_err(|error| error.to_string());
        std::fs::remove_file(&path).unwrap();
        read
    }

    #[test]
    fn keys_are_read_from_a_file_that_is_nobody_elses() {
        let keys = read_with("one: secret\ntwo: 12345\n", 0o640).unwrap();
        assert_eq!((keys["one"].as_str(), keys["two"].as_str()), ("secret", "12345"));
        let error = read_with("one: hunter2 \n", 0o644).unwrap_err();
        assert!(error.contains("key_file") && error.contains("chmod"), "{error}");
        for text in ["hunter2", "one: hunter2\none: hunter2\n", "one: [hunter2]\n"] {
            let error = read_with(text, 0o600).unwrap_err();
            assert!(error.contains("key: secret") && !error.contains("hunter2"), "{error}");
        }
        assert!(read_file(Path::new("/nowhere/keys")).is_err());
    }
}
