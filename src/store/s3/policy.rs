//! The bucket policy with which S3 itself refuses to replace and to delete what is below a prefix, whoever asks.
//!
//! Pure. Two denials and no permission: a denial counts for everybody, the bucket's owner too, so one statement protects against all
//! other policies.

use std::fmt::Write as _;

/// No `If-None-Match`, on a request that creates an object: those that only begin a multipart upload cannot have it. A store that does
/// not know the second key never denies for want of the first.
const CONDITION: &str = "{\n        \"Null\": { \"s3:if-none-match\": \"true\" },\n        \
                         \"Bool\": { \"s3:ObjectCreationOperation\": \"true\" }\n      }";

/// The policy for `s3://bucket/prefix`, as JSON. `region` tells the partition.
#[must_use]
pub fn bucket_policy(bucket: &str, prefix: &str, region: &str) -> String {
    let partition = match region.split('-').next() {
        Some("cn") => "aws-cn",
        Some("us") if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    };
    let everything = format!("arn:{partition}:s3:::{bucket}/{prefix}*");
    let statements = [
        ("EtlObjectsAreCreatedOnly", "\"s3:PutObject\"", true),
        ("EtlObjectsAreNeverDeleted", "[\"s3:DeleteObject\", \"s3:DeleteObjectVersion\"]", false),
    ];
    let mut text = "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [".to_owned();
    for (at, (id, actions, without_condition)) in statements.into_iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        // The keys and values need no escapes: a bucket and a prefix have none of the characters that would.
        let _ = write!(
            text,
            "{comma}\n    {{\n      \"Sid\": \"{id}\",\n      \"Effect\": \"Deny\",\n      \"Principal\": \"*\",\n      \
             \"Action\": {actions},\n      \"Resource\": \"{everything}\""
        );
        if without_condition {
            let _ = write!(text, ",\n      \"Condition\": {CONDITION}");
        }
        text.push_str("\n    }");
    }
    text.push_str("\n  ]\n}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_denies_replacing_and_deleting_below_the_prefix_and_nothing_else() {
        let policy: serde_json::Value = serde_json::from_str(&bucket_policy("my-logs", "a/b/", "eu-west-1")).unwrap();
        let statements = policy["Statement"].as_array().unwrap();
        assert_eq!((policy["Version"].as_str(), statements.len()), (Some("2012-10-17"), 2));
        for statement in statements {
            assert_eq!((&statement["Effect"], &statement["Principal"]), (&"Deny".into(), &"*".into()));
            assert_eq!(statement["Resource"], "arn:aws:s3:::my-logs/a/b/*");
        }
        let [put, delete] = [&statements[0], &statements[1]];
        assert_eq!(put["Action"], "s3:PutObject");
        assert_eq!(put["Condition"]["Null"]["s3:if-none-match"], "true");
        assert_eq!(put["Condition"]["Bool"]["s3:ObjectCreationOperation"], "true");
        assert_eq!(delete["Action"].as_array().unwrap().len(), 2);
        assert_eq!(delete.get("Condition"), None);
    }

    #[test]
    fn policy_is_of_its_region_s_partition() {
        for (region, start) in
            [("cn-north-1", "arn:aws-cn:"), ("us-gov-west-1", "arn:aws-us-gov:"), ("us-east-1", "arn:aws:")]
        {
            let text = bucket_policy("bbb", "", region);
            assert!(text.contains(&format!("\"{start}s3:::bbb/*\"")), "{text}");
        }
    }
}
