//! What a command prints. A reader that went away, as `head` does, has read what it wanted: that is no failure.

use std::fmt::Display;
use std::io::{ErrorKind, Write as _, stderr, stdout};

/// Prints `text` and a line end to the standard output.
pub(super) fn say(text: impl Display) -> anyhow::Result<()> {
    match writeln!(stdout(), "{text}").and_then(|()| stdout().flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::Error::from(error).context("print"))
        }
        _ => Ok(()),
    }
}

/// Prints a remark beside the result to the standard error; nothing depends on whether it is read.
pub(super) fn remark(text: impl Display) {
    let _ = writeln!(stderr(), "{text}");
}
