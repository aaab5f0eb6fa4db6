//! Death at a chosen write, for tests: from then on nothing is written any more, as after `kill -9` or a failed disk.

use std::sync::Mutex;

use super::StoreError;

/// When to die.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Moment {
    /// The write does not happen.
    Before,
    /// The write happens, and nobody hears of it.
    After,
}

/// Counts writes down to the fatal one.
#[derive(Default, Debug)]
pub(crate) struct Crash(Mutex<State>);

#[derive(Copy, Clone, Default, Debug)]
enum State {
    #[default]
    Alive,
    Armed {
        writes_left: u64,
        moment: Moment,
    },
    Dead,
}

impl Crash {
    /// Dies at the write after `writes` more.
    pub(crate) fn arm(&self, writes: u64, moment: Moment) {
        let mut state = self.0.lock().expect("no test panics here");
        if matches!(*state, State::Alive) {
            *state = State::Armed {
                writes_left: writes,
                moment,
            };
        }
    }

    /// Whether death has come.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(*self.0.lock().expect("no test panics here"), State::Dead)
    }

    /// Performs the write, or dies before or after it.
    pub(super) fn write(
        &self,
        write: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        // Held over the write, so that no other thread's write comes after the fatal one.
        let mut state = self.0.lock().expect("no test panics here");
        let dead = || Err(StoreError::Failed("a write failed on purpose".into()));
        match *state {
            State::Alive => {
                drop(state);
                write()
            }
            State::Dead => dead(),
            State::Armed {
                writes_left: 0,
                moment,
            } => {
                *state = State::Dead;
                if moment == Moment::After {
                    write()?;
                }
                dead()
            }
            State::Armed {
                writes_left,
                moment,
            } => {
                *state = State::Armed {
                    writes_left: writes_left - 1,
                    moment,
                };
                write()
            }
        }
    }
}
