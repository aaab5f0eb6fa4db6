//! Keeps the agent small beside the process it serves: code that only starting up needed leaves its memory.
//!
//! Reading settings, setting up TLS and opening the store run through most of the program once, and the kernel maps
//! what is read around it, so that an idle agent would be charged for all its code. Some time after the start the
//! mapping is dropped: whatever is still needed comes back page by page from the page cache.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::mm::{Advice, madvise};

/// By then the agent has registered, and the start is over.
const START_TAKES: Duration = Duration::from_secs(2);

/// Where a mapping begins, and how long it is.
type Extent = (usize, usize);

/// Waits until the start is over and drops the mapping of the program's code once. Where it cannot, nothing happens.
pub(crate) async fn forget_startup_code() {
    tokio::time::sleep(START_TAKES).await;
    let (Ok(maps), Ok(program)) = (
        fs::read_to_string("/proc/self/maps"),
        std::env::current_exe(),
    ) else {
        return;
    };
    for extent in maps.lines().filter_map(|line| code_of(line, &program)) {
        drop_mapping(extent);
    }
}

/// The extent of a line of `/proc/self/maps`, if it is the program's code: mapped from its file, never written.
fn code_of(line: &str, program: &Path) -> Option<Extent> {
    let mut fields = line.split_ascii_whitespace();
    let (range, rights) = (fields.next()?, fields.next()?);
    let path = fields.nth(3)?;
    if rights != "r-xp" || Path::new(path) != program {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some((start, end.checked_sub(start)?))
}

#[expect(unsafe_code, reason = "advice on memory has no safe form")]
fn drop_mapping((start, len): Extent) {
    let start = std::ptr::with_exposed_provenance_mut(start);
    // SAFETY: the extent is one whole private mapping of the program's file that is read and executed but never
    // written, so that what is dropped and what comes back from the file are the same bytes.
    let dropped = unsafe { madvise(start, len, Advice::LinuxDontNeed) };
    if let Err(error) = dropped {
        tracing::debug!(%error, "code of the start stays in memory");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_programs_own_code_is_dropped() {
        let program = Path::new("/bin/agent");
        let of = |line| code_of(line, program);
        assert_eq!(
            of("1000-3000 r-xp 00001000 fe:00 42          /bin/agent"),
            Some((0x1000, 0x2000))
        );
        for line in [
            "1000-3000 r--p 00001000 fe:00 42 /bin/agent",
            "1000-3000 rw-p 00001000 fe:00 42 /bin/agent",
            "1000-3000 r-xp 00001000 fe:00 42 /lib/libc.so.6",
            "1000-3000 r-xp 00000000 00:00 0 [vdso]",
            "1000-3000 rw-p 00000000 00:00 0",
            "",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }
}
