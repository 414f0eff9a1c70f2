//! `load.format`, `load.compression` and `load.layout`: the form of parts, and the folders that go with it.
//!
//! Pure. All decide where parts lie and what is in them, so the state records them; one prefix has one form.

use serde::Deserializer;

use super::layers::Layers;
use super::paths::wrong;
use super::value;
use crate::error::Result;
use crate::hour::format::{Compression, Encoding, Format};
use crate::hour::key::{DEFAULT_LAYOUT, HIVE_LAYOUT, Layout};

/// The layout of parts of this format: the configured one, else what goes with it. Engines expect columns in hive's folders.
pub(super) fn resolve(format: Format, given: Option<&Layout>, layers: &Layers<'_>) -> Result<Layout> {
    if format.encoding == Encoding::Parquet {
        return Err(layers
            .error(&["load", "format"], "this version writes lines only")
            .hint("write \"ndjson\", or use a version that has Parquet"));
    }
    if let Some(given) = given {
        return Ok(given.clone().of_format(format));
    }
    let template = match format.encoding {
        Encoding::Ndjson => DEFAULT_LAYOUT,
        Encoding::Parquet => HIVE_LAYOUT,
    };
    layers.note("load.layout", template, layers.origin(&["load", "format"]));
    Ok(Layout::parse(template)?.of_format(format))
}

pub(super) fn layout<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Layout>, D::Error> {
    value::parsed_by(from, |text| if text.is_empty() { Ok(None) } else { Layout::parse(text).map(Some) })
}

pub(super) fn encoding<'de, D: Deserializer<'de>>(from: D) -> Result<Encoding, D::Error> {
    value::parsed_by(from, |text| {
        let found = Encoding::ALL.into_iter().find(|encoding| encoding.name() == text);
        found.ok_or_else(|| wrong(format!("{text:?} is no format of parts")).hint("write \"ndjson\" or \"parquet\""))
    })
}

pub(super) fn compression<'de, D: Deserializer<'de>>(from: D) -> Result<Compression, D::Error> {
    value::parsed_by(from, |text| {
        let found = Compression::ALL.into_iter().find(|compression| compression.name() == text);
        found.ok_or_else(|| wrong(format!("{text:?} is no compression of parts")).hint("write \"gzip\" or \"zstd\""))
    })
}
