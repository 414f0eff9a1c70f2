//! What to do about quarantined tokens, by the reason. Pure.

/// What to do about quarantined tokens with this reason, be it one of this module or of what comes before a record.
pub(crate) fn advice(reason: &str) -> &'static str {
    match reason {
        "wrong-key" => "add the older or newer key to the ring: the next run reads them",
        "malformed-token" => "ask the source's owner: what it sends as data is not a Fernet token",
        "no-token" => "ask the source's owner: an element has no text \"data\", or is not JSON",
        "not-utf8" | "not-a-record" | "unrepresentable" | "too-deep" | "too-large" => {
            "`etl quarantine show` prints what is inside: ask the source's owner, or drop them"
        }
        "no-indate" => {
            "`etl quarantine show` prints them: they have no time, so they are of no hour; drop them, or ask the source's owner"
        }
        "bad-indate" => {
            "`etl quarantine show` prints them: their inDate is not a time; ask the source's owner, or drop them"
        }
        "no-time" => {
            "set record.time to where the time stands, then `etl replay --quarantine`; `etl quarantine show` prints them"
        }
        "bad-time" => {
            "set record.time_format to how the time is spelled, then `etl replay --quarantine`; `etl quarantine show` prints them"
        }
        "future" => "look at the clocks of this machine and of the source; each is taken when its time comes",
        _ => "`etl quarantine show` prints what is inside; `etl replay --quarantine` tries them again",
    }
}

#[cfg(test)]
mod tests {
    use super::advice;

    #[test]
    fn each_reason_of_the_manual_has_its_own_advice() {
        let page = include_str!("../docs/sources.md");
        let (_, table) = page.split_once("| reason | what it is").unwrap();
        let rows: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with("| `")).collect();
        assert!(rows.len() > 10);
        for row in rows {
            let reason = row.split('`').nth(1).unwrap();
            assert_ne!(advice(reason), advice("of another version"), "{reason}");
        }
    }
}
