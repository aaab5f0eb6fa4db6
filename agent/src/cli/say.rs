//! What a command prints. A reader that went away, as `head` does, has read what it wanted: that is no failure.

use std::fmt::Display;
use std::io::{ErrorKind, Write as _, stderr, stdout};

use super::Failure;

/// Whether anybody still reads the standard output.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Reader {
    Listening,
    Gone,
}

/// Prints `text` and a line end to the standard output.
pub(super) fn say(text: impl Display) -> Result<Reader, Failure> {
    match writeln!(stdout(), "{text}").and_then(|()| stdout().flush()) {
        Ok(()) => Ok(Reader::Listening),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(anyhow::Error::from(error).context("print").into()),
    }
}

/// Prints a remark beside the result to the standard error; nothing depends on whether it is read.
pub(super) fn remark(text: impl Display) {
    let _ = writeln!(stderr(), "{text}");
}
