//! Where messages go: the seam between what is sent and the client that sends it.
//!
//! Invariant: what was sent is stored only once [`Outbox::settle`] has succeeded; after it has failed, nothing is known of any of it, and all
//! has to be sent again.

use std::time::Duration;

use super::chunks::Headers;
use super::kafka::Producer;
use crate::error::Result;

/// How long messages may take until they are acknowledged.
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes messages.
pub trait Outbox {
    /// Takes a message for a partition of `topic`. `payload`: `None` = what has this key is gone.
    ///
    /// # Errors
    /// `Unavailable`: it finds no room for long.
    fn send(&self, topic: &str, partition: i32, key: &[u8], headers: &Headers, payload: Option<&[u8]>) -> Result<()>;

    /// Waits until all that was sent is stored.
    ///
    /// # Errors
    /// `Unavailable`: that is not known.
    fn settle(&self) -> Result<()>;

    /// Forgets what was sent and is not stored yet.
    fn forget(&self);
}

impl Outbox for Producer {
    fn send(&self, topic: &str, partition: i32, key: &[u8], headers: &Headers, payload: Option<&[u8]>) -> Result<()> {
        self.send_or_erase(topic, Some(partition), key, &headers.to_slices(), payload)
    }

    fn settle(&self) -> Result<()> {
        Producer::settle(self, PATIENCE)
    }

    fn forget(&self) {
        // It says what is not stored, which is what this is for.
        let _ = Producer::settle(self, Duration::ZERO);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;
    use crate::error::{Error, ErrorKind};

    /// A message that was sent.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Sent {
        pub(crate) topic: String,
        pub(crate) partition: i32,
        pub(crate) key: Vec<u8>,
        pub(crate) headers: Vec<(String, Vec<u8>)>,
        pub(crate) payload: Option<Vec<u8>>,
    }

    impl Sent {
        pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
            self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
        }
    }

    /// Keeps what is sent, and fails when it is told to.
    #[derive(Debug, Default)]
    pub(crate) struct Kept {
        unsettled: RefCell<Vec<Sent>>,
        pub(crate) stored: RefCell<Vec<Sent>>,
        pub(crate) fails: Cell<bool>,
    }

    impl Outbox for Kept {
        fn send(
            &self,
            topic: &str,
            partition: i32,
            key: &[u8],
            headers: &Headers,
            payload: Option<&[u8]>,
        ) -> Result<()> {
            let headers =
                headers.to_slices().into_iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
            let sent = Sent {
                topic: topic.to_owned(),
                partition,
                key: key.to_vec(),
                headers,
                payload: payload.map(<[u8]>::to_vec),
            };
            self.unsettled.borrow_mut().push(sent);
            Ok(())
        }

        fn settle(&self) -> Result<()> {
            let sent = self.unsettled.take();
            if self.fails.get() {
                // Some of it is stored all the same.
                self.stored.borrow_mut().extend(sent.into_iter().step_by(2));
                return Err(Error::new(ErrorKind::Unavailable, "planted"));
            }
            self.stored.borrow_mut().extend(sent);
            Ok(())
        }

        fn forget(&self) {
            self.unsettled.take();
        }
    }
}
