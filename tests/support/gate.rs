//! Gates on the way to servers, which can be shut: a network that carries nothing for a while, and says nothing about it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::origin::Door;

/// What one read takes.
const BYTES: usize = 64 << 10;

/// Gates that are shut and opened together.
pub struct Gates {
    is_shut: Arc<AtomicBool>,
    _doors: Vec<Door>,
}

impl Gates {
    /// A gate at each first port on loopback, before the server at the second one.
    pub fn open(ports: impl Iterator<Item = (u16, u16)>) -> Self {
        let is_shut = Arc::<AtomicBool>::default();
        let door = |(port, server): (u16, u16)| {
            let is_shut = Arc::clone(&is_shut);
            let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
            // A connection that breaks is its client's business.
            Door::open(listener, move |client| drop(carry(&client, server, &is_shut)))
        };
        let doors = ports.map(door).collect();
        Self { is_shut, _doors: doors }
    }

    /// From now on nothing passes; connections stay, and new ones are taken.
    pub fn shut(&self) {
        self.is_shut.store(true, Ordering::SeqCst);
    }

    /// What waits passes, and all that comes.
    pub fn reopen(&self) {
        self.is_shut.store(false, Ordering::SeqCst);
    }
}

fn carry(client: &TcpStream, server: u16, is_shut: &AtomicBool) -> std::io::Result<()> {
    wait(is_shut);
    let server = TcpStream::connect(("127.0.0.1", server))?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    std::thread::scope(|scope| {
        scope.spawn(|| drop(pass(client, &server, is_shut)));
        pass(&server, client, is_shut)
    })
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, is_shut: &AtomicBool) -> std::io::Result<()> {
    let mut bytes = vec![0; BYTES];
    let passed = loop {
        match from.read(&mut bytes) {
            Ok(0) => break Ok(()),
            Ok(count) => {
                wait(is_shut);
                if let Err(error) = to.write_all(&bytes[..count]) {
                    break Err(error);
                }
            }
            Err(error) => break Err(error),
        }
    };
    wait(is_shut);
    let _ = to.shutdown(std::net::Shutdown::Both);
    passed
}

fn wait(is_shut: &AtomicBool) {
    while is_shut.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(5));
    }
}
