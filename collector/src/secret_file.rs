//! Reads a secret from a file, and says who else may read it.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use submeter_common::secrecy::Secrecy;

/// Reads a file that is to be kept from others, judging the very file that was opened.
///
/// # Errors
/// When it cannot be read, or is no text.
pub(crate) fn read(path: &Path) -> io::Result<(Secrecy, String)> {
    let mut file = File::open(path)?;
    let secrecy = Secrecy::of(file.metadata()?.permissions().mode());
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok((secrecy, text))
}
