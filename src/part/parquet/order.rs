//! In which order a part's records have their fields.
//!
//! Pure. Columns have no order of their own, and records of one source nearly always have the same one. So the order is learned from the first
//! records of a part and kept once, in the object's metadata; a record with its fields in another order is kept whole in `raw`. Invariant:
//! [`Order::put_together`] gives the fields of every record in the order that [`Order::find`] found to rise.

use std::borrow::Cow;
use std::collections::HashMap;

use super::columns::Columns;
use crate::record::{Fields, Value};

/// The most names that are learned. A record with more fields has them in `extra`, in their order.
const MOST: usize = 200;
/// The longest name that is learned.
const LONGEST: usize = 128;

/// Where a field of this name is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Time,
    /// In this column of those of fields.
    Field(usize),
    Extra,
}

/// The names that records have, in their order. All others come behind these.
#[derive(Debug)]
pub(super) struct Order {
    names: Vec<(String, Place)>,
    ranks: HashMap<String, usize>,
}

impl Order {
    /// The order in which most of these records have their fields, completed by the others and by the columns that they lack.
    pub(super) fn learn(columns: &Columns, records: &[Vec<String>]) -> Self {
        let mut sequences: Vec<(&Vec<String>, usize)> = Vec::new();
        for record in records.iter().filter(|record| record.len() <= MOST) {
            match sequences.iter_mut().find(|(sequence, _)| *sequence == record) {
                Some((_, count)) => *count += 1,
                None => sequences.push((record, 1)),
            }
        }
        // Of equally frequent ones the first stays first.
        sequences.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let mut names = Vec::new();
        sequences.iter().for_each(|(sequence, _)| merge(&mut names, sequence, MOST));
        merge(&mut names, &columns.usual_order(), usize::MAX);
        Self::of(names, columns)
    }

    /// The order of these names. A name that comes twice counts where it comes first.
    pub(super) fn of(names: Vec<String>, columns: &Columns) -> Self {
        let place = |name: &String| match columns.position(name) {
            _ if columns.time.as_ref() == Some(name) => Place::Time,
            Some(column) => Place::Field(column),
            None => Place::Extra,
        };
        let mut ranks = HashMap::with_capacity(names.len());
        for (rank, name) in names.iter().enumerate() {
            ranks.entry(name.clone()).or_insert(rank);
        }
        let names = names.into_iter().map(|name| (place(&name), name)).map(|(place, name)| (name, place)).collect();
        Self { names, ranks }
    }

    /// Its names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(name, _)| name.as_str())
    }

    /// The rank of a name, and where a field of this name is kept. It is usually the one at `next`.
    pub(super) fn find(&self, name: &str, next: usize) -> Option<(usize, Place)> {
        let at = |rank: usize| self.names.get(rank).filter(|(at, _)| at == name).map(|(_, place)| (rank, *place));
        let near = at(next).or_else(|| at(next.saturating_add(1)));
        near.or_else(|| at(*self.ranks.get(name)?))
    }

    /// The fields of a record, from its columns and from what is in none of them, which goes before a column of the same name.
    pub(super) fn put_together<'a>(
        &self,
        mut of_place: impl FnMut(Place) -> Option<Value<'a>>,
        extra: Fields<'a>,
    ) -> Fields<'a> {
        let mut fields = Vec::with_capacity(self.names.len());
        let mut extra: Vec<Option<(Cow<'a, str>, Value<'a>)>> = extra.into_iter().map(Some).collect();
        for (name, place) in &self.names {
            let is_it =
                |field: &&mut Option<(Cow<'a, str>, Value<'a>)>| field.as_ref().is_some_and(|(key, _)| key == name);
            if let Some(field) = extra.iter_mut().find(is_it).and_then(Option::take) {
                fields.push(field);
            } else if let Some(value) = of_place(*place) {
                fields.push((Cow::Owned(name.clone()), value));
            }
        }
        fields.extend(extra.into_iter().flatten());
        fields
    }
}

/// Adds the names of `sequence` that are missing, each behind the one that it follows.
fn merge(names: &mut Vec<String>, sequence: &[String], most: usize) {
    let mut next = 0;
    for name in sequence {
        match names.iter().position(|known| known == name) {
            Some(at) => next = next.max(at + 1),
            None if names.len() < most && name.len() <= LONGEST => {
                names.insert(next, name.clone());
                next += 1;
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn keys(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn learned(records: &[&str]) -> String {
        let columns = Columns::new(&[], &TimeZone::UTC).unwrap();
        let records: Vec<Vec<String>> = records.iter().map(|record| keys(record)).collect();
        Order::learn(&columns, &records).names().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn order_is_that_of_most_records_with_what_others_add_in_its_place() {
        let usual = "user_id record_id product_id activity url method name inDate detail";
        assert_eq!(learned(&[]), usual);
        assert_eq!(learned(&["user_id record_id activity url method name inDate detail"]), usual);
        assert_eq!(
            learned(&["inDate record_id", "record_id x inDate y", "record_id x inDate y"]),
            "user_id record_id product_id activity url method name x inDate detail y",
        );
        let many = (0..300).map(|n| format!("f{n}")).collect::<Vec<_>>().join(" ");
        assert_eq!(learned(&[&many]), usual, "such a record is kept whole");
        assert_eq!(learned(&[&"n".repeat(200)]), usual);
    }

    #[test]
    fn what_is_in_no_column_has_its_place_where_it_has_one_and_comes_last_where_not() {
        let columns = Columns::new(&[], &TimeZone::UTC).unwrap();
        let order = Order::of(keys("record_id x inDate"), &columns);
        let extra = vec![("z".into(), Value::Null), ("x".into(), Value::Null), ("inDate".into(), Value::Bool(true))];
        let of_place = |place| (place != Place::Extra).then(|| Value::Int("1".into()));
        let fields = order.put_together(of_place, extra);
        let text: Vec<String> = fields.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
        assert_eq!(text, [r#"record_id=Int("1")"#, "x=Null", "inDate=Bool(true)", "z=Null"]);
        assert_eq!(order.find("x", 0), Some((1, Place::Extra)));
        assert_eq!(order.find("inDate", 0), Some((2, Place::Time)));
        assert_eq!(order.find("z", 0), None);
    }
}
