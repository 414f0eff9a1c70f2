//! What a try is waiting for, so that whoever ends it can say why nothing came.
//!
//! Shared between the try and its client's name resolution. In memory only.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A handle; clones share one value.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting(Arc<Mutex<For>>);

#[derive(Debug, Default)]
enum For {
    /// A connection, or the head of an answer on it.
    #[default]
    Answer,
    /// A token to ask with.
    Token,
    /// The address of this host.
    Name(String),
    /// The rest of a body of which so many bytes came.
    Body(u64),
}

impl Waiting {
    /// For an answer: a try begins.
    pub(super) fn for_answer(&self) {
        *self.lock() = For::Answer;
    }

    /// For a token, before the page can be asked for.
    pub(super) fn for_token(&self) {
        *self.lock() = For::Token;
    }

    /// For the address of `host`, or no longer.
    pub(super) fn for_name(&self, host: Option<&str>) {
        *self.lock() = host.map_or(For::Answer, |host| For::Name(host.to_owned()));
    }

    /// For what follows `received` bytes of a body.
    pub(super) fn for_body(&self, received: u64) {
        *self.lock() = For::Body(received);
    }

    /// Whether the resolver is still being asked.
    pub(super) fn is_for_name(&self) -> bool {
        matches!(*self.lock(), For::Name(_))
    }

    fn lock(&self) -> MutexGuard<'_, For> {
        // Each value is set at once: a panic elsewhere cannot have left it half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.lock() {
            For::Answer => f.write_str("there was no answer yet"),
            For::Token => f.write_str("there was no token to ask with yet"),
            For::Name(host) => write!(f, "the resolver had given no address of {host} yet"),
            For::Body(received) => write!(f, "the body was not complete after {received} bytes"),
        }
    }
}
