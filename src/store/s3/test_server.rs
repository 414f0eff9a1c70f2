//! A server on loopback that answers as the tests' scripts say.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    (listener, endpoint)
}

/// Answers requests, one a connection, each with the next of a script; returns the heads of the requests.
pub(super) fn serve(script: Vec<String>) -> (String, JoinHandle<Vec<String>>) {
    let (listener, endpoint) = listen();
    let answering = move |answer: String| answer_one(&listener.accept().unwrap().0, &answer);
    (endpoint, std::thread::spawn(move || script.into_iter().map(answering).collect()))
}

/// Has `talk` talk to each who connects, one after the other, for as long as the test runs.
pub(super) fn serve_all(talk: impl Fn(&TcpStream) + Send + 'static) -> String {
    let (listener, endpoint) = listen();
    std::thread::spawn(move || listener.incoming().for_each(|stream| talk(&stream.unwrap())));
    endpoint
}

/// Bodies without end, each in chunks, until the client has had enough.
pub(super) fn serve_without_end(status: &'static str) -> String {
    serve_all(move |stream| {
        read_head(stream);
        let mut writer = stream;
        let chunk = format!("10000\r\n{}\r\n", "A".repeat(0x10000));
        let start = format!("HTTP/1.1 {status}\r\ntransfer-encoding: chunked\r\n\r\n");
        let mut sent = writer.write_all(start.as_bytes());
        while sent.is_ok() {
            sent = writer.write_all(chunk.as_bytes());
        }
    })
}

/// The head of a request, and what reads its body.
pub(super) fn read_head(stream: &TcpStream) -> (String, BufReader<&TcpStream>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|read| read > 0) {}
    (head, reader)
}

fn answer_one(stream: &TcpStream, answer: &str) -> String {
    let (head, mut reader) = read_head(stream);
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    reader.read_exact(&mut vec![0; length.unwrap_or(0)]).unwrap();
    let mut writer = stream;
    writer.write_all(answer.as_bytes()).unwrap();
    head
}

pub(super) fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

pub(super) fn refused(status: &str, code: &str) -> String {
    answer(status, "", &format!("<Error><Code>{code}</Code></Error>"))
}

pub(super) fn listed(keys: &[&str], next: Option<&str>) -> String {
    let of = |key: &&str| format!("<Contents><Key>{key}</Key><LastModified>x</LastModified><Size>7</Size></Contents>");
    let contents: String = keys.iter().map(of).collect();
    let next = next.map(|token| format!("<IsTruncated>true</IsTruncated>{token}")).unwrap_or_default();
    answer("200 OK", "", &format!("<ListBucketResult><Name>b</Name>{contents}{next}</ListBucketResult>"))
}
