//! Who reads what is printed, as the environment tells: whether the terminal shows UTF-8, and whether cron mails it.
//!
//! The first of `LC_ALL`, `LC_CTYPE` and `LANG` that is set and not empty counts, as it does for every other program. cron tells
//! nobody that it is cron, so what it sets and leaves out has to do: it names shell, home and user, and no terminal. A service
//! of systemd has these too, and the id of its invocation.

use std::ffi::OsString;

/// Whether text in UTF-8 is shown as it is meant.
#[must_use]
pub fn locale_is_utf8() -> bool {
    is_utf8(&|name| std::env::var_os(name))
}

/// Whether the environment is one that cron makes.
#[must_use]
pub fn under_cron() -> bool {
    is_of_cron(&|name| std::env::var_os(name))
}

fn is_of_cron(ask: &dyn Fn(&str) -> Option<OsString>) -> bool {
    let set = |name: &str| ask(name).is_some_and(|value| !value.is_empty());
    let has_a_user = set("SHELL") && set("HOME") && (set("LOGNAME") || set("USER"));
    has_a_user && !["TERM", "INVOCATION_ID", "KUBERNETES_SERVICE_HOST"].into_iter().any(set)
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
    fn cron_is_known_by_what_it_sets_and_leaves_out() {
        let of_cron = |names: &[&str]| is_of_cron(&|name| names.contains(&name).then(|| "x".into()));
        assert!(of_cron(&["HOME", "LOGNAME", "SHELL", "PATH"]));
        assert!(of_cron(&["HOME", "USER", "SHELL", "PATH", "LANG"]), "busybox");
        assert!(!of_cron(&["HOME", "LOGNAME", "SHELL", "PATH", "TERM"]), "a person");
        assert!(!of_cron(&["HOME", "LOGNAME", "SHELL", "PATH", "INVOCATION_ID"]), "systemd");
        assert!(!of_cron(&["HOME", "PATH", "HOSTNAME"]), "a container");
    }

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
