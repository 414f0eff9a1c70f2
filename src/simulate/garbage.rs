//! Elements of a page that are not good records: the pipeline must quarantine them, never run and never lose them.
//!
//! What such an element holds depends on the seed and its place alone. The same one comes again, recognisably, wherever
//! pages overlap: the same text, or under a new token the same plaintext.

use std::fmt::Write as _;

use super::draw::Draws;

/// What a garbage element holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Garbage {
    /// The JSON text of its `data` member, the same at each request.
    Json(String),
    /// A token of a record with one digit changed, the same at each request.
    Tampered,
    /// A sound token of this, a new one at each request.
    Plaintext(Vec<u8>),
}

/// How many kinds there are.
pub(super) const KINDS: u64 = 12;

/// The garbage of kind number `kind`.
pub(super) fn garbage(kind: u64, draws: &mut Draws) -> Garbage {
    match kind {
        0 => Garbage::Json(r#""not a token""#.to_owned()),
        1 => Garbage::Json(random_base64(draws)),
        2 => Garbage::Json(draws.below(1_000_000).to_string()),
        3 => Garbage::Json(r#"["a","list"]"#.to_owned()),
        4 => Garbage::Tampered,
        5 => Garbage::Plaintext(draws.bytes::<40>().to_vec()),
        _ => Garbage::Plaintext(nonsense(kind, draws.below(1_000_000)).into_bytes()),
    }
}

/// Text that is not a record. `n` keeps two of a kind apart.
fn nonsense(kind: u64, n: u64) -> String {
    match kind {
        6 => format!("__import__('os').system('echo evaluated {n}')"),
        7 => format!("['a', 'list', {n}]"),
        8 => format!("{{'user_id': 'cut short', 'record_id': {n}, 'inDate': '2023-03-1"),
        9 => format!("{{'record_id': {n}, 'activity': 'view', 'name': 'no time in it'}}"),
        10 => format!("{{'record_id': {n}, 'activity': 'view', 'inDate': 'yesterday'}}"),
        _ => format!("{{'record_id': {n}, 'inDate': None, 3: 'three'}}"),
    }
}

/// A JSON text that begins like a token and is not one.
fn random_base64(draws: &mut Draws) -> String {
    let mut text = String::from("\"gAAAAA");
    for word in draws.bytes::<48>().chunks_exact(3) {
        for byte in word {
            // Hex digits are base64 digits too.
            let _ = write!(text, "{byte:02x}");
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_like_no_other_and_comes_again_the_same() {
        let all: Vec<_> = (0..KINDS).map(|kind| garbage(kind, &mut Draws::new(1, "g", &[kind]))).collect();
        for (kind, one) in (0..KINDS).zip(&all) {
            assert_eq!(*one, garbage(kind, &mut Draws::new(1, "g", &[kind])));
            assert_eq!(all.iter().filter(|other| *other == one).count(), 1, "{one:?}");
        }
    }

    #[test]
    fn data_members_are_json() {
        for kind in 0..KINDS {
            if let Garbage::Json(text) = garbage(kind, &mut Draws::new(1, "g", &[kind])) {
                assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
            }
        }
    }
}
