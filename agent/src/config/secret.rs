//! A secret that cannot slip into a log line: it prints as dots and is compared in constant time.

use std::fmt;
use std::path::Path;

use super::private_file::PrivateFile;

/// An API key or token.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret as found in a file or in the environment: surrounding white space is not part of it. None when it
    /// is empty or holds a character that cannot stand in an HTTP header.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        (!text.is_empty() && printable).then(|| Self(text.to_owned()))
    }

    /// Reads a secret from a file. The error says what is wrong with the file, never what is in it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let file = PrivateFile::read(path).map_err(|error| error.to_string())?;
        Self::new(&file.text).ok_or_else(|| {
            format!(
                "{}: expected one line of printable ASCII characters",
                path.display()
            )
        })
    }

    /// The secret itself, for the one header it belongs in.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `offered` is this secret. Both are hashed first, so that the time taken tells nothing about either.
    pub fn matches(&self, offered: &str) -> bool {
        blake3::hash(self.0.as_bytes()) == blake3::hash(offered.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
