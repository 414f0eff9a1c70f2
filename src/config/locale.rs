//! What the reader's terminal can show, as the environment tells.
//!
//! The first of `LC_ALL`, `LC_CTYPE` and `LANG` that is set and not empty counts, as it does for every other program.

use std::ffi::OsString;

/// Whether text in UTF-8 is shown as it is meant.
#[must_use]
pub fn locale_is_utf8() -> bool {
    is_utf8(&|name| std::env::var_os(name))
}

fn is_utf8(ask: &dyn Fn(&str) -> Option<OsString>) -> bool {
    let mut set = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(|name| ask(name)).filter(|value| !value.is_empty());
    let name = set.next().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    name.contains("utf-8") || name.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_variable_that_is_set_decides() {
        let with = |set: &[(&str, &str)]| {
            let set: Vec<(String, OsString)> = set.iter().map(|(name, value)| ((*name).into(), value.into())).collect();
            is_utf8(&move |name| set.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()))
        };
        assert!(with(&[("LANG", "en_US.UTF-8")]));
        assert!(with(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8"), ("LANG", "C")]));
        assert!(!with(&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")]));
        assert!(!with(&[("LANG", "ko_KR.EUC-KR")]));
        assert!(!with(&[]));
    }
}
