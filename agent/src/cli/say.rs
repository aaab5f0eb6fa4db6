//! What a command prints on its standard output.

use std::fmt::Display;
use std::io::{ErrorKind, Write as _, stdout};

use super::Failure;

/// Prints `text` and a line end. A reader that went away, as `head` does, has read what it wanted.
pub(super) fn say(text: impl Display) -> Result<(), Failure> {
    match writeln!(stdout(), "{text}").and_then(|()| stdout().flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::Error::from(error).context("print").into())
        }
        _ => Ok(()),
    }
}
