//! A part's manifest → that of the same part as another object.
//!
//! Pure. What was known of the hour stays, byte for byte; the key, the size and the digest are those of the new object.

use serde::Deserialize;

use crate::hour::part::PartIdentity;

/// What a manifest says of its object.
#[derive(Deserialize)]
struct OfObject {
    key: String,
    #[serde(flatten)]
    identity: PartIdentity,
}

/// The manifest `source` for the object with this key and identity. `None`: it is not the manifest of this part.
pub(super) fn moved(source: &[u8], key: &str, identity: &PartIdentity) -> Option<Vec<u8>> {
    let was: OfObject =
        serde_json::from_slice(source).ok().filter(|was: &OfObject| was.identity.has_records_of(identity))?;
    let text = std::str::from_utf8(source).ok()?;
    let text = with_member(text, &member("key", &was.key)?, &member("key", key)?)?;
    let text = with_member(&text, &member("sha256", &was.identity.sha256)?, &member("sha256", &identity.sha256)?)?;
    let bytes = |bytes: u64| format!("\"bytes\":{bytes},");
    with_member(&text, &bytes(was.identity.bytes), &bytes(identity.bytes)).map(String::into_bytes)
}

/// A member with a text, as it stands in a manifest.
fn member(name: &str, text: &str) -> Option<String> {
    Some(format!("\"{name}\":{}", serde_json::to_string(text).ok()?))
}

fn with_member(manifest: &str, was: &str, is: &str) -> Option<String> {
    manifest.contains(was).then(|| manifest.replacen(was, is, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(rows: u64, bytes: u64, sha256: &str) -> PartIdentity {
        PartIdentity { rows, bytes, sha256: sha256.into(), content_sha256: "c".into() }
    }

    #[test]
    fn manifest_names_the_new_object_and_is_else_as_it_was() {
        let text =
            r#"{"schema":1,"key":"a/\"b","rows":3,"bytes":31,"sha256":"s","content_sha256":"c","x":{"key":"a"}}"#;
        let moved = |text: &str, identity| {
            moved(text.as_bytes(), "k", &identity).map(|bytes| String::from_utf8(bytes).unwrap())
        };
        let expected = r#"{"schema":1,"key":"k","rows":3,"bytes":5,"sha256":"t","content_sha256":"c","x":{"key":"a"}}"#;
        assert_eq!(moved(text, identity(3, 5, "t")).unwrap(), expected);
        assert_eq!(moved(text, identity(4, 5, "t")), None, "of other records");
        assert_eq!(moved("{}", identity(3, 5, "t")), None);
        assert_eq!(moved(&text.replace("\"bytes\":31", "\"bytes\": 31"), identity(3, 5, "t")), None, "not ours");
    }
}
