//! Who else may read a file that holds a secret: the rule for its mode bits.
//!
//! Others on the host are everybody: a key they can read is no secret, and one they can replace is not ours. A group may
//! be one made for this purpose (Kubernetes shares secrets with a container through `fsGroup`), so reading by the group is
//! worth a warning only; a group that writes could put in a key of its own.

use std::fmt;

const GROUP_READ: u32 = 0o040;
const GROUP_WRITE: u32 = 0o020;
const OTHERS: u32 = 0o007;
const PERMISSIONS: u32 = 0o777;

/// What the mode bits of a secret's file allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// Only the owner reads it.
    Private,
    /// Its group reads it too: worth a warning.
    Shared {
        /// The permission bits.
        mode: u32,
    },
    /// Everybody may reach it, or its group may replace it: not to be used.
    Exposed {
        /// The permission bits.
        mode: u32,
    },
}

impl Secrecy {
    /// Judges the mode bits of a file.
    #[must_use]
    pub const fn of(mode: u32) -> Self {
        let mode = mode & PERMISSIONS;
        if mode & (OTHERS | GROUP_WRITE) != 0 {
            Secrecy::Exposed { mode }
        } else if mode & GROUP_READ != 0 {
            Secrecy::Shared { mode }
        } else {
            Secrecy::Private
        }
    }
}

/// Says what is wrong and what was expected, to be put behind the file's name.
impl fmt::Display for Secrecy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secrecy::Private => f.write_str("is private"),
            Secrecy::Shared { mode } => {
                write!(f, "has mode {mode:04o}: its group can read this secret")
            }
            Secrecy::Exposed { mode } => write!(
                f,
                "has mode {mode:04o}: others can read or replace this secret; expected 0600, or 0640 for a group of its own (chmod 600)"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Secrecy;

    #[test]
    fn only_the_owner_and_at_most_a_reading_group_may_reach_a_secret() {
        for mode in [0o600, 0o400, 0o700, 0o100_600] {
            assert_eq!(Secrecy::of(mode), Secrecy::Private, "{mode:o}");
        }
        for mode in [0o640, 0o440, 0o100_640] {
            let mode_shown = mode & 0o777;
            assert_eq!(
                Secrecy::of(mode),
                Secrecy::Shared { mode: mode_shown },
                "{mode:o}"
            );
        }
        for mode in [
            0o644, 0o604, 0o602, 0o601, 0o620, 0o660, 0o666, 0o777, 0o004,
        ] {
            assert_eq!(Secrecy::of(mode), Secrecy::Exposed { mode }, "{mode:o}");
        }
        assert!(Secrecy::of(0o644).to_string().contains("0644"));
    }
}
