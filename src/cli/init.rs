//! `etl init`: its flags and examples.

use std::path::PathBuf;

use clap::Args;

/// The examples of the help.
pub const EXAMPLES: &str = "\
Examples:
  etl init                                   write etl.toml, and say how to go on
  etl init --url https://api.example.com/api/data/log --to s3://my-logs/prefix/
  etl init --to s3://logs/ --endpoint http://127.0.0.1:8333 --region us-east-1
  etl init /etc/etl/etl.toml --to file:/srv/lake

It asks nothing, and overwrites nothing.";

/// `etl init`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct InitArgs {
    /// The file to write
    #[arg(value_name = "FILE", default_value = "etl.toml")]
    pub file: PathBuf,
    /// Where the logs come from: an address, or files as in "file:pages/*.json"
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Where the parts go: "s3://bucket/prefix/", or a folder as in "file:lake" [default: file:lake]
    #[arg(long, value_name = "PLACE")]
    pub to: Option<String>,
    /// Address of an S3-compatible store [default: AWS]
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// Region of the bucket [default: ap-northeast-2]
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
}
