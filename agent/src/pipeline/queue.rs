//! A queue between threads, bounded by items and by bytes, that can be closed.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Why an item was not taken; it comes back.
#[derive(Debug)]
pub(super) enum Refused<T> {
    /// Too many items wait.
    Long(T),
    /// Too many bytes wait.
    Full(T),
    Closed(T),
}

/// What a bounded wait brought.
#[derive(Debug)]
pub(super) enum Popped<T> {
    Item(T),
    TimedOut,
    Closed,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    closed: bool,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    emptied: Condvar,
    items_max: usize,
    bytes_max: usize,
}

impl<T> Queue<T> {
    pub(super) fn new(items_max: usize, bytes_max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                items: VecDeque::new(),
                bytes: 0,
                closed: false,
            }),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            items_max,
            bytes_max,
        }
    }

    /// Adds an item unless the queue is full. An empty queue takes any one item.
    pub(super) fn try_push(&self, item: T, bytes: usize) -> Result<(), Refused<T>> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed(item));
        }
        if self.is_long(&state) {
            return Err(Refused::Long(item));
        }
        if self.is_full(&state, bytes) {
            return Err(Refused::Full(item));
        }
        self.add(&mut state, item, bytes);
        Ok(())
    }

    /// How many items and bytes wait.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let state = self.lock();
        (state.items.len(), state.bytes)
    }

    /// Adds an item that must not be refused for want of room: a command, of which there are few.
    pub(super) fn push_command(&self, item: T) -> Result<(), T> {
        let mut state = self.lock();
        if state.closed {
            return Err(item);
        }
        self.add(&mut state, item, 0);
        Ok(())
    }

    /// Adds an item, waiting for room.
    pub(super) fn push(&self, item: T, bytes: usize) -> Result<(), T> {
        let mut state = self.lock();
        while !state.closed && (self.is_long(&state) || self.is_full(&state, bytes)) {
            state = self
                .emptied
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return Err(item);
        }
        self.add(&mut state, item, bytes);
        Ok(())
    }

    /// Waits for items and moves as many as come to `bytes_max` (at least one) into `taken`. False when closed.
    pub(super) fn take(&self, bytes_max: usize, taken: &mut Vec<T>) -> bool {
        let mut state = self.lock();
        while !state.closed && state.items.is_empty() {
            state = self
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return false;
        }
        let mut bytes = 0;
        while bytes < bytes_max {
            let Some((item, size)) = state.items.pop_front() else {
                break;
            };
            state.bytes -= size;
            bytes += size;
            taken.push(item);
        }
        self.emptied.notify_all();
        true
    }

    /// Waits at most `wait` for an item.
    pub(super) fn pop(&self, wait: Duration) -> Popped<T> {
        let mut state = self.lock();
        if state.items.is_empty() && !state.closed {
            let waited = self.filled.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.closed {
            return Popped::Closed;
        }
        match state.items.pop_front() {
            Some((item, size)) => {
                state.bytes -= size;
                self.emptied.notify_all();
                Popped::Item(item)
            }
            None => Popped::TimedOut,
        }
    }

    /// Refuses everything from now on and drops what waits.
    pub(super) fn close(&self) {
        let dropped = {
            let mut state = self.lock();
            state.closed = true;
            state.bytes = 0;
            std::mem::take(&mut state.items)
        };
        self.filled.notify_all();
        self.emptied.notify_all();
        drop(dropped);
    }

    fn is_long(&self, state: &State<T>) -> bool {
        !state.items.is_empty() && state.items.len() >= self.items_max
    }

    fn is_full(&self, state: &State<T>, bytes: usize) -> bool {
        !state.items.is_empty() && state.bytes.saturating_add(bytes) > self.bytes_max
    }

    fn add(&self, state: &mut State<T>, item: T, bytes: usize) {
        state.items.push_back((item, bytes));
        state.bytes += bytes;
        self.filled.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
