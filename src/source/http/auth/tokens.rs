//! The tokens that a process has: each is used for its lifetime, less a margin, and never written anywhere.
//!
//! In memory only, for as long as the process runs: a run that repeats itself does not ask for a token at each tick. Invariant: a client
//! with another secret never gets a token that was made for the one before.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;

use super::oauth2::{Grant, sensitive};

/// The longest that a token is given up before its end: a page may take as long to be asked for.
const MARGIN: Duration = Duration::from_secs(60);

/// A token that a request can carry.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) header: HeaderValue,
    /// From then on it is not used; `None`: until it is refused.
    until: Option<Instant>,
}

/// What names a client.
type Client = [u8; 32];

static TOKENS: Mutex<Option<HashMap<Client, Token>>> = Mutex::new(None);

fn tokens() -> MutexGuard<'static, Option<HashMap<Client, Token>>> {
    // A token is put in or taken out as a whole: a panic elsewhere leaves nothing half done.
    TOKENS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Token {
    /// The token that a server gave at `asked`. `None`: no header can carry it.
    pub(super) fn new(grant: &Grant, asked: Instant) -> Option<Self> {
        let margin = |lifetime: Duration| MARGIN.min(lifetime / 10);
        let until = grant.lifetime.and_then(|lifetime| asked.checked_add(lifetime.saturating_sub(margin(lifetime))));
        Some(Self { header: sensitive(&format!("Bearer {}", grant.token.expose()))?, until })
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// How long it will be used; `None`: until it is refused.
    pub(super) fn left(&self) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(Instant::now()))
    }
}

/// The token of `client` that can be used now.
pub(super) fn known(client: &Client) -> Option<Token> {
    let mut tokens = tokens();
    let known = tokens.get_or_insert_default();
    known.retain(|_, token| token.is_fresh(Instant::now()));
    known.get(client).cloned()
}

pub(super) fn remember(client: Client, token: &Token) {
    tokens().get_or_insert_default().insert(client, token.clone());
}

/// Forgets `token`, which was refused; not one that came after it.
pub(super) fn forget(client: &Client, token: &Token) {
    let mut tokens = tokens();
    let known = tokens.get_or_insert_default();
    if known.get(client).is_some_and(|known| known.header == token.header) {
        known.remove(client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str, lifetime: Option<u64>) -> Token {
        let grant = Grant { token: text.into(), lifetime: lifetime.map(Duration::from_secs) };
        Token::new(&grant, Instant::now()).unwrap()
    }

    #[test]
    fn token_is_given_up_a_margin_before_its_end() {
        let now = Instant::now();
        for (lifetime, used) in [(3600, 3540), (600, 540), (100, 90), (0, 0)] {
            let token = token("t", Some(lifetime));
            assert!(used == 0 || token.is_fresh(now + Duration::from_secs(used - 1)), "{lifetime}");
            assert!(!token.is_fresh(now + Duration::from_secs(used + 1)), "{lifetime}");
        }
        assert!(token("t", None).is_fresh(now + Duration::from_secs(1 << 30)));
        assert!(token("t", Some(u64::MAX)).is_fresh(now + Duration::from_secs(1 << 30)));
        assert!(!format!("{:?}", token("s3cret", None)).contains("s3cret"));
    }

    #[test]
    fn token_is_known_to_its_client_alone_until_it_is_refused() {
        let (one, other) = ([1; 32], [2; 32]);
        let (old, new) = (token("old", None), token("new", None));
        remember(one, &old);
        assert!(known(&one).is_some() && known(&other).is_none());
        remember(one, &new);
        forget(&one, &old);
        assert_eq!(known(&one).unwrap().header, new.header, "a newer one stays");
        forget(&one, &new);
        assert!(known(&one).is_none());
        remember(one, &token("dead", Some(0)));
        assert!(known(&one).is_none());
    }
}
