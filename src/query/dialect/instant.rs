//! A text as an instant in SQL: what `record/time.rs` reads, with the functions that the engines share. Pure.

/// Where the engines differ.
pub(super) struct Spelling {
    /// Its function that looks for a pattern.
    pub(super) like: &'static str,
    /// Its timestamp.
    pub(super) ty: &'static str,
    /// Digits of a second that the timestamp holds; those beyond are cut off.
    pub(super) digits: u8,
    /// What ends a text that is a time in UTC.
    pub(super) utc: &'static str,
    /// A timestamp, minutes later.
    pub(super) later: fn(&str, &str) -> String,
    /// A timestamp of the zone, as one in UTC.
    pub(super) in_zone: fn(&str, &str) -> String,
}

/// An offset at the end: `+09:00`, `+0900` or `+09`.
const OFFSET: &str = "[+-][0-9]{2}(:?[0-9]{2})?$";

/// The instant; a leap second is the end of its minute.
pub(super) fn instant(text: &str, zone: &str, spelling: &Spelling) -> String {
    let Spelling { like, ty, digits, utc, later, in_zone } = spelling;
    let fraction = format!("nullif(regexp_extract({text}, '^.{{19}}[.,]([0-9]{{1,{digits}}})', 1), '')");
    let last = "9".repeat(usize::from(*digits));
    let seconds = format!(
        "CASE WHEN substr({text}, 18, 2) = '60' THEN '59.{last}' ELSE substr({text}, 18, 2) || coalesce('.' || {fraction}, '') END"
    );
    let end = if utc.is_empty() { String::new() } else { format!(" || '{utc}'") };
    let clock = format!("substr({text}, 1, 10) || ' ' || substr({text}, 12, 6) || {seconds}{end}");
    let clock = format!("TRY_CAST({clock} AS {ty})");
    let offset = format!("replace(regexp_extract({text}, '({OFFSET})', 1), ':', '')");
    let number = |from: u8| format!("coalesce(TRY_CAST(nullif(substr({offset}, {from}, 2), '') AS integer), 0)");
    let sign = format!("CASE WHEN substr({offset}, 1, 1) = '-' THEN 1 ELSE -1 END");
    let minutes = format!("({sign}) * ({} * 60 + {})", number(2), number(4));
    let minutes = format!("CASE WHEN {text} LIKE '%Z' OR NOT {like}({text}, '{OFFSET}') THEN 0 ELSE {minutes} END");
    let shifted = later(&clock, &minutes);
    if zone == "UTC" {
        return shifted;
    }
    let local = in_zone(&clock, zone);
    format!("CASE WHEN {like}({text}, '[Zz]$|{OFFSET}') THEN {shifted} ELSE {local} END")
}
