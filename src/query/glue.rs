//! Table and partitions as input for Glue's API, for readers without partition projection (Spark, Redshift Spectrum).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Keys, Table, athena};
use crate::error::Result;
use crate::hour::Hour;
use crate::hour::key::Field;

/// Hadoop's classes that read and write files of lines.
const TEXT: [&str; 2] =
    ["org.apache.hadoop.mapred.TextInputFormat", "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat"];
/// The same of Parquet.
const PARQUET: [&str; 2] = [
    "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
];
/// Partitions that one call accepts.
const MOST: usize = 100;

/// `CreateTable`, and one `BatchCreatePartition` for each hundred hours.
pub(super) fn input(table: &Table, hours: &BTreeSet<Hour>) -> Result<Value> {
    let data = table.s3_data()?;
    let database = table.database.as_deref().unwrap_or("default");
    let hours: Vec<Hour> = hours.iter().copied().collect();
    let batch = |hours: &[Hour]| {
        let partitions: Vec<Value> = hours.iter().map(|hour| partition(table, &data, *hour)).collect();
        json!({"DatabaseName": database, "TableName": table.table_name(), "PartitionInputList": partitions})
    };
    let keys = table.key_names().iter().map(|key| json!({"Name": key, "Type": table.key_type()}));
    Ok(json!({
        "CreateTable": {
            "DatabaseName": database,
            "TableInput": {
                "Name": table.table_name(),
                "Description": athena::description(table),
                "TableType": "EXTERNAL_TABLE",
                "Parameters": parameters(table),
                "PartitionKeys": keys.collect::<Vec<_>>(),
                "StorageDescriptor": storage(table, &data),
            },
        },
        "BatchCreatePartition": hours.chunks(MOST).map(batch).collect::<Vec<_>>(),
    }))
}

fn parameters(table: &Table) -> Value {
    let kind = match table.serde {
        _ if table.is_parquet() => "parquet",
        Some(_) => "json",
        None => "text",
    };
    json!({"EXTERNAL": "TRUE", "classification": kind, "compressionType": table.layout.format().compression.name()})
}

fn partition(table: &Table, data: &str, hour: Hour) -> Value {
    let folders = table.layout.folders(hour);
    let values = match table.keys {
        Keys::Hour => Field::ALL.iter().map(|field| number(*field, hour)).collect(),
        Keys::Dt => vec![folders.clone()],
    };
    json!({"Values": values, "StorageDescriptor": storage(table, &format!("{data}{folders}/"))})
}

fn number(field: Field, hour: Hour) -> String {
    format!("{:0width$}", field.of(hour), width = field.width())
}

fn storage(table: &Table, location: &str) -> Value {
    let columns = athena::columns(table).into_iter().map(|(name, ty, comment)| match comment.is_empty() {
        true => json!({"Name": name, "Type": ty}),
        false => json!({"Name": name, "Type": ty, "Comment": comment}),
    });
    let [input, output] = if table.is_parquet() { PARQUET } else { TEXT };
    json!({
        "Columns": columns.collect::<Vec<_>>(),
        "Location": location,
        "InputFormat": input,
        "OutputFormat": output,
        "Compressed": true,
        "SerdeInfo": {"SerializationLibrary": athena::serde_class(table)},
    })
}
