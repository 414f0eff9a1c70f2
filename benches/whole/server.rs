//! A source on loopback: the pages of a folder, each with a link to the next. It keeps connections open, as services do.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The pages that are handed out.
pub struct Server {
    pub url: String,
    pages: Arc<Mutex<Handed>>,
}

/// The pages, and whether the last of them was asked for.
#[derive(Default)]
struct Handed {
    pages: Vec<PathBuf>,
    is_through: bool,
}

impl Server {
    /// One without pages: it answers with an empty one.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/0", listener.local_addr().expect("an address"));
        let pages = Arc::new(Mutex::new(Handed::default()));
        let shared = Arc::clone(&pages);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let pages = Arc::clone(&shared);
                std::thread::spawn(move || drop(serve(&stream, &pages)));
            }
        });
        Self { url, pages }
    }

    /// Hands these files out from now on.
    pub fn pages(&self, pages: Vec<PathBuf>) {
        let mut handed = self.pages.lock().expect("no panic");
        *handed = Handed { is_through: pages.is_empty() && handed.is_through, pages };
    }

    /// Whether the last of the pages that were put here was asked for.
    #[cfg(feature = "kafka")]
    pub fn is_through(&self) -> bool {
        self.pages.lock().expect("no panic").is_through
    }

    /// Hands the files of a folder out, in the order of their names.
    pub fn folder(&self, dir: &Path) {
        let mut pages: Vec<_> =
            std::fs::read_dir(dir).expect("pages").map(|page| page.expect("a page").path()).collect();
        pages.sort();
        self.pages(pages);
    }
}

fn serve(mut stream: &TcpStream, pages: &Mutex<Handed>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        let number: usize = first.split(['/', ' ']).filter_map(|word| word.parse().ok()).next().unwrap_or(0);
        let (page, next) = {
            let mut handed = pages.lock().expect("no panic");
            handed.is_through |= number + 1 == handed.pages.len();
            (handed.pages.get(number).cloned(), number + 1 < handed.pages.len())
        };
        let body = page.map_or_else(|| Ok(b"[]".to_vec()), std::fs::read)?;
        let link = if next { format!("Link: </{}>; rel=\"next\"\r\n", number + 1) } else { String::new() };
        let length = body.len();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{link}Content-Length: {length}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), &body].concat())?;
    }
}
