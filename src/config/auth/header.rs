//! A request header of the configuration.

use super::reference::Reference;
use crate::config::layers::Layers;
use crate::error::Result;
use crate::secret::Secret;

/// A request header.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) name: String,
    value: Reference,
}

impl Header {
    /// The header `name` below the key `table`, whose value is written as `text`: itself, or where it is.
    pub(super) fn resolve(table: &[&str], name: &str, text: &str, layers: &Layers<'_>) -> Result<Self> {
        let path = [table, &[name]].concat();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)) {
            return Err(layers.error(&path, "not a header's name"));
        }
        let value = match is_secret(name) {
            true => Reference::parse(&path, text, layers)?.ok_or_else(|| {
                layers.error(&path, "a secret does not belong in the file").hint(format!(
                    "put it into a variable: {name} = \"env:API_TOKEN\", or into a file: {name} = \"file:token\""
                ))
            })?,
            false => Reference::or_here(&path, text, layers)?,
        };
        Ok(Self { name: name.to_owned(), value })
    }

    pub(super) fn sent(&self) -> Result<(String, Secret)> {
        Ok((self.name.clone(), self.value.line()?))
    }
}

/// Whether a header of this name carries a credential.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["authorization", "cookie", "api-key", "apikey", "token", "secret", "password"]
        .iter()
        .any(|word| name.contains(word))
}
