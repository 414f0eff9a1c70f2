//! The `Link` response header (RFC 8288): the reference with `rel="next"`.
//!
//! Pure. Invariant: a value that breaks the grammar is read up to there.

/// The target of the first `rel="next"` link in the header's values, as spelled there. Links about another page (`anchor`) are skipped.
pub(in crate::source) fn next_reference<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<String> {
    values.into_iter().find_map(|value| {
        let value = String::from_utf8_lossy(value);
        let mut rest = Rest(&value);
        std::iter::from_fn(|| rest.link()).find(|link| link.is_next).map(|link| link.target)
    })
}

struct Link {
    target: String,
    is_next: bool,
}

/// The unread rest of a value.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    /// `<target>; param; param=value, …`
    fn link(&mut self) -> Option<Link> {
        self.0 = self.0.trim_start_matches([' ', '\t', ',']);
        let (target, rest) = self.0.strip_prefix('<')?.split_once('>')?;
        let target = target.trim().to_owned();
        self.0 = rest;
        let (mut rel, mut anchored) = (None, false);
        while self.eat(';') {
            let (name, value) = self.parameter();
            match name.to_ascii_lowercase().as_str() {
                // The first of several counts.
                "rel" => rel = rel.or(Some(value)),
                "anchor" => anchored = true,
                _ => {}
            }
        }
        let is_next = rel.is_some_and(|rel| rel.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case("next")));
        Some(Link { target, is_next: is_next && !anchored })
    }

    fn eat(&mut self, wanted: char) -> bool {
        let rest = self.0.trim_start_matches([' ', '\t']);
        let found = rest.strip_prefix(wanted);
        self.0 = found.unwrap_or(rest);
        found.is_some()
    }

    fn parameter(&mut self) -> (String, String) {
        let name = self.word();
        if !self.eat('=') {
            return (name, String::new());
        }
        let value = if self.eat('"') { self.quoted() } else { self.word() };
        (name, value)
    }

    fn word(&mut self) -> String {
        let end = self.0.find(['=', ';', ',']).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at_checked(end).unwrap_or((self.0, ""));
        self.0 = rest;
        word.trim().to_owned()
    }

    /// A quoted string after its opening quote.
    fn quoted(&mut self) -> String {
        let (mut text, mut characters) = (String::new(), self.0.chars());
        while let Some(character) = characters.next() {
            match character {
                '"' => break,
                '\\' => text.extend(characters.next()),
                _ => text.push(character),
            }
        }
        self.0 = characters.as_str();
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(values: &[&str]) -> Option<String> {
        next_reference(values.iter().map(|value| value.as_bytes()))
    }

    #[test]
    fn next_link_is_found_however_it_is_spelled() {
        for value in [
            r#"</l?page=2>; rel="next""#,
            r#"</l?page=2>;rel=next"#,
            r#"</l?page=2> ; REL = "prefetch NEXT" ; rel="prev""#,
            r#"</l?page=1>; rel="first"; title="a, \"<b>; rel=next", </l?page=2>; rel=next; title="x""#,
            r#", ,</a>;crossorigin;rel=prev,</l?page=2>;rel="next","#,
        ] {
            assert_eq!(next(&[value]).as_deref(), Some("/l?page=2"), "{value}");
        }
        assert_eq!(next(&["</a>; rel=prev", "<?b,c;d=e>; rel=next"]).as_deref(), Some("?b,c;d=e"));
    }

    #[test]
    fn other_links_are_no_next_page() {
        for value in [
            "",
            "</a>",
            r#"</a>; rel="prev""#,
            r#"</a>; rel="nextish""#,
            r#"</a>; rel="prev"; rel="next""#,
            r##"</a>; rel="next"; anchor="#other""##,
            r#"</a>; title="</b>; rel=next""#,
            "</a; rel=next",
            r#"garbage, </a>; rel="next"#,
        ] {
            assert_eq!(next(&[value]), None, "{value}");
        }
    }
}
