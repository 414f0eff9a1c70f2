//! A proxy in front of a store that counts the PUTs that the store took, by path.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

type Counts = Arc<Mutex<BTreeMap<String, u32>>>;

/// A counting proxy on loopback.
pub struct Proxy {
    /// Its address, in the place of the store's.
    pub endpoint: String,
    created: Counts,
}

impl Proxy {
    /// Starts one before the server at `endpoint` (`http://host:port`).
    pub fn start(endpoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = endpoint.strip_prefix("http://").unwrap().to_owned();
        let proxy = Self { endpoint: format!("http://{}", listener.local_addr().unwrap()), created: Counts::default() };
        let counts = Arc::clone(&proxy.created);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (counts, address) = (Arc::clone(&counts), address.clone());
                // A connection that breaks is its client's business.
                std::thread::spawn(move || drop(forward(&client, &address, &counts)));
            }
        });
        proxy
    }

    /// How often the store created each path below `prefix`.
    pub fn created(&self, prefix: &str) -> BTreeMap<String, u32> {
        let counts = self.created.lock().unwrap();
        counts.iter().filter(|(path, _)| path.contains(prefix)).map(|(path, n)| (path.clone(), *n)).collect()
    }
}

/// Passes requests and answers on, one after the other, until one side closes.
fn forward(client: &TcpStream, address: &str, counts: &Counts) -> std::io::Result<()> {
    let server = TcpStream::connect(address)?;
    let (mut requests, mut answers) = (BufReader::new(client), BufReader::new(&server));
    loop {
        let request = head(&mut requests)?;
        if request.is_empty() {
            return Ok(());
        }
        pass(&request, length(&request), &mut requests, &server)?;
        let answer = head(&mut answers)?;
        let bodiless = request.starts_with("HEAD ") || answer.contains(" 204 ") || answer.contains(" 304 ");
        if answer.starts_with("HTTP/1.1 200") && request.starts_with("PUT ") {
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            *counts.lock().unwrap().entry(path).or_default() += 1;
        }
        pass(&answer, if bodiless { Some(0) } else { length(&answer) }, &mut answers, client)?;
    }
}

/// A head up to its empty line; empty where the connection ended.
fn head(from: &mut impl BufRead) -> std::io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head)? == 0 {
            return Ok(String::new());
        }
    }
    Ok(head)
}

/// What the head says of the body's length. `None`: it comes in chunks.
fn length(head: &str) -> Option<u64> {
    let lower = head.to_ascii_lowercase();
    if lower.contains("transfer-encoding: chunked") {
        return None;
    }
    let value = lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    Some(value.unwrap_or(0))
}

fn pass(head: &str, length: Option<u64>, body: &mut impl BufRead, mut to: &TcpStream) -> std::io::Result<()> {
    to.write_all(head.as_bytes())?;
    match length {
        Some(length) => std::io::copy(&mut body.take(length), &mut to).map(drop),
        None => pass_chunks(body, to),
    }
}

fn pass_chunks(body: &mut impl BufRead, mut to: &TcpStream) -> std::io::Result<()> {
    loop {
        let mut size = String::new();
        body.read_line(&mut size)?;
        to.write_all(size.as_bytes())?;
        let length = u64::from_str_radix(size.trim(), 16).unwrap_or(0);
        // The chunk and the line end behind it; the last chunk is empty.
        std::io::copy(&mut body.take(length + 2), &mut to)?;
        if length == 0 {
            return Ok(());
        }
    }
}
