//! A server with a list of records, and what befalls those who ask for them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::support::api::{Api, Request};

/// What befalls the next requests: an answer instead of the server's own, or `None`.
pub(super) type Troubles = Arc<Mutex<VecDeque<Option<Vec<u8>>>>>;

/// A server that answers by the test's rule, but for troubles; and by a state that the test changes.
pub(super) struct Server<S> {
    pub(super) api: Api,
    pub(super) state: Arc<Mutex<S>>,
    troubles: Troubles,
}

impl<S: Send + 'static> Server<S> {
    pub(super) fn start<A: Into<Vec<u8>>>(
        state: S,
        answer: impl Fn(&Request, &mut S) -> A + Send + Sync + 'static,
    ) -> Self {
        let (state, troubles) = (Arc::new(Mutex::new(state)), Troubles::default());
        let (of_server, to_come) = (Arc::clone(&state), Arc::clone(&troubles));
        let api = Api::start(move |request| {
            let trouble = to_come.lock().unwrap().pop_front().flatten();
            trouble.unwrap_or_else(|| answer(request, &mut of_server.lock().unwrap()).into())
        });
        Self { api, state, troubles }
    }

    /// The host, as an address begins.
    pub(super) fn host(&self) -> String {
        self.api.url.trim_end_matches("/log").to_owned()
    }

    /// What befalls the request after `before` others.
    pub(super) fn trouble(&self, before: usize, answer: impl Into<Vec<u8>>) {
        let mut troubles = self.troubles.lock().unwrap();
        troubles.clear();
        troubles.extend((0..before).map(|_| None));
        troubles.push_back(Some(answer.into()));
    }

    /// Changes what the server has.
    pub(super) fn change(&self, change: impl FnOnce(&mut S)) {
        change(&mut self.state.lock().unwrap());
    }
}
