//! A source that answers as the test says: one scripted answer a request.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An answer of the source.
#[derive(Debug, Clone)]
pub enum Answer {
    /// 200 with this body.
    Page(String),
    /// A status with this body.
    Status(u16, String),
    /// 200 that announces more than it sends.
    Cut(String),
    /// 200 with a body of which a byte comes now and then, for ever.
    Trickle,
    /// Nothing for so long, then the connection closes.
    Stall(Duration),
    /// These bytes, head and all, then the connection closes.
    Raw(Vec<u8>),
}

/// A source on loopback. Each request takes the next answer; the last one is given again and again.
pub struct Origin {
    pub url: String,
    answers: Arc<Mutex<Vec<Answer>>>,
    _door: Door,
}

impl Origin {
    pub fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/api/data/log", listener.local_addr().unwrap());
        let answers = Arc::new(Mutex::new(answers));
        let script = Arc::clone(&answers);
        let door = Door::open(listener, move |stream| {
            let answer = next(&script);
            drop(serve(&stream, &answer));
        });
        Self { url, answers, _door: door }
    }

    /// Replaces what is still to be answered.
    pub fn script(&self, answers: Vec<Answer>) {
        *self.answers.lock().unwrap() = answers;
    }
}

/// A listener that gives each connection a thread, until it is dropped: thousands of them are opened in one process.
pub struct Door {
    address: SocketAddr,
    is_shut: Arc<AtomicBool>,
}

impl Door {
    pub fn open(listener: TcpListener, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let door = Self { address: listener.local_addr().unwrap(), is_shut: Arc::default() };
        let (is_shut, serve) = (Arc::clone(&door.is_shut), Arc::new(serve));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_shut.load(Ordering::Relaxed) {
                    return;
                }
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || stream.map(|stream| serve(stream)));
            }
        });
        door
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.is_shut.store(true, Ordering::Relaxed);
        // Who waits for a connection learns of it by one.
        drop(TcpStream::connect(self.address));
    }
}

fn next(script: &Mutex<Vec<Answer>>) -> Answer {
    let mut answers = script.lock().unwrap();
    if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() }
}

fn serve(mut stream: &TcpStream, answer: &Answer) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let (status, length, body) = match answer {
        Answer::Page(body) => (200, body.len(), body.as_str()),
        Answer::Status(status, body) => (*status, body.len(), body.as_str()),
        Answer::Cut(body) => (200, body.len() + 1000, body.as_str()),
        Answer::Stall(time) => {
            std::thread::sleep(*time);
            return Ok(());
        }
        Answer::Trickle => return trickle(stream),
        Answer::Raw(bytes) => return stream.write_all(bytes),
    };
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")?;
    stream.flush()
}

fn trickle(mut stream: &TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 X\r\nContent-Length: 100000\r\n\r\n[")?;
    loop {
        stream.write_all(b" ")?;
        std::thread::sleep(Duration::from_millis(50));
    }
}
