//! Each provider against a server that answers by a script, and what is said when it fails.

use std::path::Path;

use super::super::test_server::{answer, refused as s3_refused, serve};
use super::*;
use crate::config::ObjectOptions;

const JSON: &str = r#"{"Code":"Success","AccessKeyId":"ROLEKEY","SecretAccessKey":"ROLEs3cr3t","Token":"ROLETOKEN","Expiration":"2999-01-01T00:00:00Z"}"#;
const XML: &str = "<R><Credentials><AccessKeyId>STSKEY</AccessKeyId><SecretAccessKey>S</SecretAccessKey><SessionToken>T</SessionToken>\
                   <Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></R>";

/// What is found with these variables, and no files but those in `home`.
fn found(home: &Path, pairs: &[(&'static str, &str)]) -> Result<String, Error> {
    let home = home.to_str().unwrap();
    let pairs: Vec<_> = [("HOME", home)].into_iter().chain(pairs.iter().copied()).collect();
    let variables = AwsVariables::set(&pairs);
    let credentials =
        variables.profile().map_or(S3Credentials::Default, |name| S3Credentials::Profile(name.to_owned()));
    let (bucket, prefix, region) = ("bbb".to_owned(), String::new(), "r-1".to_owned());
    let options = ObjectOptions::default();
    let settings = S3Settings { bucket, prefix, endpoint: None, region, credentials, variables, options };
    find(&settings, &Stop::new()).map(|found| found.id().to_owned())
}

fn home(config: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    std::fs::write(home.path().join(".aws/config"), config).unwrap();
    home
}

fn file(home: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = home.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The refusal, which has a next step and no secret.
#[track_caller]
fn refusal(answered: Result<String, Error>) -> String {
    let error = answered.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Credentials, "{error:?}");
    let text = format!("{} → {}", error.chain(), error.next_step().expect("there is a next step"));
    assert!(!text.contains("s3cr3t") && !text.contains('\n'), "{text}");
    text
}

#[test]
fn instance_is_asked_by_its_second_version_with_the_token_it_gave() {
    let home = home("");
    let script = ["IMDSs3cr3t", "my-role", JSON].map(|body| answer("200 OK", "", body));
    let (service, requests) = serve(script.to_vec());
    let there = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.as_str())];
    assert_eq!(found(home.path(), &there).unwrap(), "ROLEKEY");
    let requests = requests.join().unwrap();
    let starts = ["PUT /latest/api/token ", "GET /latest/meta-data/iam/security-credentials/ "];
    assert!(requests.iter().zip(starts).all(|(request, start)| request.starts_with(start)), "{requests:?}");
    assert!(
        requests[2].contains("/security-credentials/my-role ") && requests[2].contains("IMDSs3cr3t"),
        "{requests:?}"
    );

    let off = [there[0], ("AWS_EC2_METADATA_DISABLED", "True")];
    assert!(refusal(found(home.path(), &off)).contains("AWS_EC2_METADATA_DISABLED is set"), "and nobody is asked");
    let (service, _requests) = serve(vec![answer("403 Forbidden", "", "s3cr3t")]);
    let said = refusal(found(home.path(), &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &service)]));
    assert!(said.contains(&service) && said.contains("HTTP 403 to the request for a token"), "{said}");
    assert!(said.contains(".aws/credentials (is not there)"), "{said}");
}

#[test]
fn container_s_agent_is_asked_with_the_token_of_its_file_and_named_when_it_fails() {
    let home = home("");
    let token = file(&home, "token", "AGENTs3cr3t\n");
    let (agent, requests) = serve(vec![answer("200 OK", "", JSON), answer("400 Bad Request", "", "s3cr3t")]);
    let url = format!("{agent}/v1/credentials?x=s3cr3t");
    let there =
        [("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()), ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token)];
    assert_eq!(found(home.path(), &there).unwrap(), "ROLEKEY");
    let said = refusal(found(home.path(), &there));
    assert!(said.contains(&format!("the agent at {agent}/v1/credentials answered HTTP 400")), "{said}");
    assert!(requests.join().unwrap().iter().all(|head| head.to_lowercase().contains("authorization: agents3cr3t")));

    let missing = [there[0], ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/nowhere/token")];
    let said = refusal(found(home.path(), &missing));
    assert!(said.contains("cannot read /nowhere/token") && said.contains("No such file"), "{said}");
    for elsewhere in ["http://agent.example.net/", "http://127.0.0.1@agent.example.net/", "http://10.0.0.1/", "x"] {
        let said = refusal(found(home.path(), &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", elsewhere)]));
        assert!(said.contains("AWS_CONTAINER_CREDENTIALS_FULL_URI is not the address of an agent"), "{said}");
    }
    let said = refusal(found(home.path(), &[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "@agent.example.net/")]));
    assert!(said.contains("is not the address of an agent"), "{said}");
}

#[test]
fn web_identity_is_exchanged_at_sts_and_its_answer_is_shown_when_it_fails() {
    let home = home("[default]\naws_access_key_id = ANOTHER\naws_secret_access_key = x\n");
    let token = file(&home, "token", "WEBs3cr3t");
    let echo = "<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>no OIDC provider</Message></Error></ErrorResponse>";
    let quoting = echo.replace("no OIDC provider", "WEBs3cr3t is bad");
    let script = [("200 OK", XML), ("400 X", echo), ("400 X", &quoting)].map(|(status, body)| answer(status, "", body));
    let (sts, requests) = serve(script.to_vec());
    let there = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()),
        ("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/R"),
        ("AWS_ENDPOINT_URL_STS", &sts),
    ];
    assert_eq!(found(home.path(), &there).unwrap(), "STSKEY");
    let said = refusal(found(home.path(), &there));
    assert!(said.contains(&format!("STS at {sts}: HTTP 400 InvalidIdentityToken no OIDC provider")), "{said}");
    refusal(found(home.path(), &there));
    assert!(requests.join().unwrap().iter().all(|head| !head.contains("WEBs3cr3t") && !head.contains("uthorization:")));

    let unreadable = [("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token"), there[1], there[2]];
    let said = refusal(found(home.path(), &unreadable));
    assert!(
        said.contains("the web identity: cannot read its token in /nowhere/token"),
        "not the default profile: {said}"
    );
    assert!(refusal(found(home.path(), &there[..1])).contains("AWS_ROLE_ARN is not"));
}

#[test]
fn role_is_taken_with_the_credentials_of_its_source_and_signed_by_them() {
    let (sts, requests) = serve(vec![answer("200 OK", "", XML), s3_refused("403 X", "AccessDenied")]);
    let config = "[profile base]\naws_access_key_id = BASEKEY\naws_secret_access_key = BASEs3cr3t\n[profile role]\nrole_arn = \
                  arn:aws:iam::111122223333:role/R\nsource_profile = base\nexternal_id = x/y\n";
    let home = home(config);
    let there = [("AWS_PROFILE", "role"), ("AWS_ENDPOINT_URL_STS", sts.as_str())];
    assert_eq!(found(home.path(), &there).unwrap(), "STSKEY");
    let said = refusal(found(home.path(), &there));
    assert!(said.contains("config: STS at") && said.contains("HTTP 403 AccessDenied"), "{said}");
    let head = requests.join().unwrap().remove(0);
    assert!(head.contains("Credential=BASEKEY/") && head.contains("/r-1/sts/aws4_request"), "{head}");
    assert!(head.contains("SignedHeaders=content-type;host;x-amz-date"), "{head}");
}

#[test]
fn each_kind_of_profile_works_or_is_named_with_the_way_out() {
    let role = "role_arn = arn:aws:iam::111122223333:role/R\n";
    let home = home(&format!(
        "[default]\nregion = r\n[profile static]\naws_access_key_id = STATICKEY\naws_secret_access_key = x\n[sso-session s]\nsso_region = r\n\
         [profile sso]\nsso_session = s\n[profile old-sso]\nsso_start_url = https://x.example.net\n\
         [profile process]\ncredential_process = /bin/false s3cr3t\n[profile half]\naws_access_key_id = s3cr3tID\n\
         [profile empty]\nregion = r\n[profile alone]\n{role}[profile code]\n{role}source_profile = static\nmfa_serial = x\n\
         [profile a]\n{role}source_profile = b\n[profile b]\n{role}source_profile = a\n[profile of-empty]\n{role}source_profile = empty\n\
         [profile ecs]\n{role}credential_source = EcsContainer\n[profile odd]\n{role}credential_source = Moon\n\
         [profile of-sso]\n{role}source_profile = sso\n"
    ));
    let of = |name: &str| found(home.path(), &[("AWS_PROFILE", name), ("AWS_EC2_METADATA_DISABLED", "true")]);
    assert_eq!(of("static").unwrap(), "STATICKEY");
    let file = home.path().join(".aws/config").display().to_string();
    for (name, says) in [
        ("sso", "aws configure export-credentials --profile sso --format env"),
        ("old-sso", "sso_start_url, IAM Identity Center"),
        ("of-sso", "config: it signs in through a browser"),
        ("process", "config: credential_process /bin/false: ended with exit status: 1"),
        ("half", "config: aws_secret_access_key is missing"),
        ("empty", "config: it has no credentials"),
        ("alone", "stands without source_profile"),
        ("code", "mfa_serial"),
        ("a", "in a circle"),
        ("of-empty", "its source_profile \"empty\""),
        ("ecs", "no AWS_CONTAINER_CREDENTIALS_"),
        ("odd", "credential_source"),
        ("gone", "there are: a, alone, b, code"),
    ] {
        let said = refusal(of(name));
        assert!(said.contains(says), "{name}: {said}");
        assert!(said.contains(&file), "{name}: {said}");
    }
    let said = refusal(found(home.path(), &[("AWS_EC2_METADATA_DISABLED", "true")]));
    assert!(said.contains("no profile \"default\" with credentials"), "a region alone is no provider: {said}");
}

#[test]
fn file_that_a_variable_names_and_nobody_finds_is_an_error_and_no_reason_to_ask_the_machine() {
    let home = home("");
    let missing = [("AWS_SHARED_CREDENTIALS_FILE", "/nowhere/credentials")];
    let said = refusal(found(home.path(), &missing));
    assert!(said.contains("/nowhere/credentials is not there"), "{said}");
}
