//! What the system knows of this process.

use std::fs;

/// Resident memory in MiB: now, and the most since [`forget_peak`].
pub(super) fn resident() -> (u64, u64) {
    let of = |field| number(&fs::read_to_string("/proc/self/status").unwrap(), field) / 1024;
    (of("VmRSS:"), of("VmHWM:"))
}

/// Lets the peak of memory begin anew.
pub(super) fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// Bytes given to the disk so far: log, files and what compactions wrote again.
pub(super) fn written() -> u64 {
    number(
        &fs::read_to_string("/proc/self/io").unwrap(),
        "write_bytes:",
    )
}

/// Time of the processors so far, over all threads, in microseconds.
pub(super) fn busy_micros() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // Behind the name, which may hold anything: state is the first field, user and system time the 12th and 13th.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    // A hundredth of a second each, on every Linux.
    ticks * 10_000
}

fn number(text: &str, field: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
