//! The manual: a page a subject, here and as `etl help TOPIC`.
//!
//! Owns the pages, which are plain Markdown, and their reader (`markdown`). Invariant: a fact stands on one page; what a page
//! says of the code (keys, exit codes, the crash table, flags) is held against the code by tests. Pure.

pub(crate) mod markdown;

/// A page of the manual.
pub(crate) struct Topic {
    /// What `etl help` calls it.
    pub(crate) name: &'static str,
    /// What is on it.
    pub(crate) about: &'static str,
    /// The page, in Markdown.
    pub(crate) text: &'static str,
}

/// Each page as a topic, and as a module of the crate's documentation.
macro_rules! pages {
    ($($name:ident: $about:literal;)*) => {
        /// All pages, in the order of reading.
        pub(crate) const TOPICS: &[Topic] =
            &[$(Topic { name: stringify!($name), about: $about, text: include_str!(concat!(stringify!($name), ".md")) }),*];

        $(#[doc = include_str!(concat!(stringify!($name), ".md"))] pub mod $name {})*
    };
}

pages! {
    configuration: "Every key and environment variable";
    operations: "Running it: cron, systemd, exit codes, monitoring, what to do when";
    sources: "APIs, encryption, records, the quarantine, gaps";
    profiles: "Whole configurations for kinds of APIs, each of them tested";
    lake: "What is in S3, and how to get the logs back";
    cluster: "Several machines that share their work through Kafka: when, how, and what becomes of it";
    querying: "Athena, Trino, DuckDB, Spark: tables, views, what a query asks for";
    guarantees: "What holds, what does not, and what a crash leaves";
    proof: "What the tests did, how often, and what they found";
    comparison: "Other tools, and how fast this one is";
}

/// The page `name`.
pub(crate) fn topic(name: &str) -> Option<&'static Topic> {
    TOPICS.iter().find(|topic| topic.name == name)
}
