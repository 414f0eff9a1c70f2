//! Which values stand where in a sample of logs. Pure; bounded.

use crate::record::Value;

/// How deep places are looked for, and how many of them.
const DEEPEST: usize = 4;
const MOST: usize = 300;
/// A place counts if so many of ten logs have it.
const OF_TEN: usize = 9;

/// The places of a sample of dicts, as JSON Pointers, in the order in which they first came.
pub(super) struct Places<'v, 'a> {
    places: Vec<(String, Vec<&'v Value<'a>>)>,
    logs: usize,
}

impl<'v, 'a> Places<'v, 'a> {
    pub(super) fn of(logs: &'v [Value<'a>]) -> Self {
        let mut places = Self { places: Vec::new(), logs: logs.len() };
        logs.iter().for_each(|log| places.add(log, "", 0));
        places
    }

    fn add(&mut self, value: &'v Value<'a>, at: &str, depth: usize) {
        match value {
            Value::Dict(fields) if depth < DEEPEST => {
                for (name, value) in fields {
                    let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                    self.add(value, &at, depth + 1);
                }
            }
            Value::Dict(_) | Value::List(_) | Value::Null => {}
            value => match self.places.iter().position(|(known, _)| known == at) {
                Some(known) => self.places.get_mut(known).into_iter().for_each(|(_, values)| values.push(value)),
                None if self.places.len() < MOST => self.places.push((at.to_owned(), vec![value])),
                None => {}
            },
        }
    }

    /// Those that nearly all logs have, with their values.
    pub(super) fn common(&self) -> impl Iterator<Item = (&str, &[&'v Value<'a>])> {
        let is_common = |values: &[&Value<'_>]| values.len() * 10 >= self.logs * OF_TEN;
        let places = self.places.iter().map(|(at, values)| (at.as_str(), values.as_slice()));
        places.filter(move |(_, values)| is_common(values))
    }

    /// The first common place all of whose values are such.
    pub(super) fn find(&self, is_such: impl Fn(&Value<'a>) -> bool) -> Option<String> {
        let mut common = self.common();
        common.find(|(_, values)| values.iter().all(|value| is_such(value))).map(|(at, _)| at.to_owned())
    }
}

/// The last name of a pointer, in small letters and digits alone: so `created_at` and `createdAt` are one.
pub(super) fn plain_name(at: &str) -> String {
    let name = at.rsplit('/').next().unwrap_or_default();
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}
