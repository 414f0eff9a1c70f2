//! What to set where a body is not a page: from what stands in it, by names alone.
//!
//! Invariant: no value of the body is shown, and what is said is short. Pure.

use super::NotAPage;
use super::split::is_one_value;
use crate::source::{PageShape, shape};

impl NotAPage {
    /// What stands in the body that is not a page, to follow the reason. Empty where nothing can be told.
    pub(crate) fn instead(&self, body: &[u8]) -> String {
        match self {
            Self::NoTokens { .. } | Self::NotAnArray | Self::NoItems { .. } | Self::NothingAtToken { .. } => {
                shape::of(super::first_value(body))
            }
            Self::NotClosed | Self::Interrupted => String::new(),
        }
    }

    /// What to set so that the body is a page, if it is always like this.
    pub(crate) fn way_out(&self, body: &[u8], shape: &PageShape) -> String {
        let body = super::first_value(body);
        match self {
            Self::NotAnArray | Self::NoItems { .. } => items(body),
            Self::NoTokens { .. } | Self::NothingAtToken { .. } => token(shape),
            Self::NotClosed if body.first() == Some(&b'{') && !is_one_value(body) => {
                "lines of JSON have no page around them: set source.items = \"\"".to_owned()
            }
            Self::NotClosed | Self::Interrupted => "run again later".to_owned(),
        }
    }
}

fn items(body: &[u8]) -> String {
    match shape::likely_items(body) {
        Some(at) => format!("if the logs are what stands there, set source.items = \"{at}\""),
        None => "say in source.items where the array of logs is within a page, as in \"/data/items\"".to_owned(),
    }
}

fn token(shape: &PageShape) -> String {
    let plain = match shape.is_encrypted {
        true => "; if the logs are not encrypted, source.encryption = \"none\"",
        false => "",
    };
    format!(
        "say in source.token where the {} is within an element, as in \"/data\" (\"\" = the element itself){plain}",
        if shape.is_encrypted { "token" } else { "log" }
    )
}
