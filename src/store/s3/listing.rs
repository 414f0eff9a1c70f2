//! The pages of a listing, and whether they make progress.
//!
//! Pure. Invariant: only a listing is read as one, never another answer as an empty one; a listing that repeats itself ends, because
//! keys must rise and tokens must differ.

use quick_xml::Reader;
use quick_xml::events::Event;
use serde::Deserialize;

/// Pages without a key in a row, after which nothing more is expected.
const EMPTY_IN_A_ROW: u32 = 100;

/// One page.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Page {
    pub(super) contents: Vec<Object>,
    is_truncated: bool,
    next_continuation_token: Option<String>,
}

/// An object in it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Object {
    pub(super) key: String,
    pub(super) size: u64,
}

impl Page {
    /// Parses a page. `None`: `xml` is not a page of a listing.
    pub(super) fn read(xml: &[u8]) -> Option<Self> {
        let xml = std::str::from_utf8(xml).ok()?;
        if root(xml)? != b"ListBucketResult" {
            return None;
        }
        quick_xml::de::from_str(xml).ok()
    }
}

/// The name of the outermost element, without its prefix.
fn root(xml: &str) -> Option<Vec<u8>> {
    let mut reader = Reader::from_str(xml);
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => return Some(start.local_name().as_ref().to_vec()),
            Event::Empty(_) | Event::End(_) | Event::Eof => return None,
            _ => {}
        }
    }
}

/// What a listing has shown so far.
pub(super) struct Progress {
    last: Option<String>,
    /// In the order of bytes, as S3 lists. The other order is that of file trees, where a folder comes before names that go on.
    rises: bool,
    rises_by_folder: bool,
    empty: u32,
    token: Option<String>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { last: None, rises: true, rises_by_folder: true, empty: 0, token: None }
    }

    /// Notes the next key. `Err`: it does not come after the one before.
    pub(super) fn saw(&mut self, key: &str) -> Result<(), &'static str> {
        if let Some(last) = &self.last {
            self.rises &= last.as_str() < key;
            self.rises_by_folder &= last.split('/').lt(key.split('/'));
            if !self.rises && !self.rises_by_folder {
                return Err("its keys do not rise");
            }
        }
        self.last = Some(key.to_owned());
        Ok(())
    }

    /// The token of the page after `page`. `None`: it was the last.
    pub(super) fn next(&mut self, page: &Page) -> Result<Option<String>, &'static str> {
        if !page.is_truncated {
            return Ok(None);
        }
        self.empty = if page.contents.is_empty() { self.empty + 1 } else { 0 };
        match &page.next_continuation_token {
            None => Err("the answer stops half way"),
            Some(token) if token.is_empty() => Err("the answer stops half way"),
            Some(token) if self.token.as_ref() == Some(token) => Err("the same page comes again"),
            _ if self.empty > EMPTY_IN_A_ROW => Err("page after page is empty"),
            Some(token) => Ok(Some(self.token.insert(token.clone()).clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(inner: &str) -> Option<Page> {
        let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- x -->";
        Page::read(format!("{head}<ListBucketResult xmlns=\"http://s3/\">{inner}</ListBucketResult>").as_bytes())
    }

    #[test]
    fn keys_sizes_and_the_way_on_are_read() {
        let object = "<Contents><Key>p/a&amp;b &#233;</Key><Size>7</Size><ETag>&quot;e&quot;</ETag></Contents>";
        let more = "<Name>b</Name><IsTruncated>true</IsTruncated><NextContinuationToken>t&lt;1</NextContinuationToken>";
        let page = page(&format!("{more}{object}{}", object.replace("p/a", "p/b"))).unwrap();
        let found: Vec<_> = page.contents.iter().map(|object| (object.key.as_str(), object.size)).collect();
        assert_eq!(found, [("p/a&b é", 7), ("p/b&b é", 7)]);
        assert_eq!(Progress::new().next(&page), Ok(Some("t<1".to_owned())));
    }

    #[test]
    fn what_is_no_listing_is_not_an_empty_one() {
        assert!(page("").is_some_and(|page| page.contents.is_empty()));
        for odd in [
            "",
            "OK",
            "<html><body>log in</body></html>",
            "<!DOCTYPE html><html/>",
            "<Error><Code>SlowDown</Code></Error>",
            "<ListBucketResult><Contents><Key>half",
            "<ListBucketResult><Contents><Key>k</Key></Contents></ListBucketResult>",
            "<ListBucketResult><Contents><Key>k</Key><Size>-7</Size></Contents></ListBucketResult>",
            "{\"keys\":[]}",
        ] {
            assert!(Page::read(odd.as_bytes()).is_none(), "{odd}");
        }
        assert!(Page::read(b"<ListBucketResult>\xff</ListBucketResult>").is_none());
    }

    #[test]
    fn keys_rise_by_their_bytes_or_folder_by_folder() {
        let ends = |keys: &[&str]| {
            let mut progress = Progress::new();
            keys.iter().find_map(|key| progress.saw(key).err())
        };
        assert_eq!(ends(&["a.b", "a/x", "a/y", "b"]), None);
        assert_eq!(ends(&["a/x", "a/y", "a.b", "b"]), None);
        assert!(ends(&["a/x", "a.b", "a/x"]).is_some(), "round in a circle");
        assert!(ends(&["a.b", "a/x", "a.b"]).is_some(), "round in a circle");
        assert!(ends(&["x1", "x1"]).is_some());
        assert!(ends(&["x9", "x10"]).is_some());
    }

    #[test]
    fn listing_without_progress_ends() {
        let with = |token: &str, contents| Page {
            contents,
            is_truncated: true,
            next_continuation_token: (token != "none").then(|| token.to_owned()),
        };
        let object = || vec![Object { key: "k".into(), size: 1 }];
        for token in ["none", ""] {
            assert!(Progress::new().next(&with(token, object())).is_err());
        }
        let mut progress = Progress::new();
        assert!(progress.next(&with("t", object())).is_ok() && progress.next(&with("t", object())).is_err());
        let (mut progress, mut pages) = (Progress::new(), 0);
        while progress.next(&with(&format!("t{}", pages % 7), Vec::new())).is_ok() {
            pages += 1;
        }
        assert_eq!(pages, EMPTY_IN_A_ROW);
    }
}
