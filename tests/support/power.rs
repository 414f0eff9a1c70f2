//! A disk that can lose its power: whatever was written and not flushed is gone, or half of it.
//!
//! A file in memory, which this process serves through FUSE; on it a loop device with ext4. The kernel's writes and flushes
//! arrive here one by one. A cut keeps all that was flushed, and of each block that was written since the last flush either
//! the old or the new content, as the seed says: any order is one that a disk with a cache may choose.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What a disk writes as a whole.
const BLOCK: usize = 4096;
/// The largest write that the kernel may ask for.
const MAX_WRITE: u32 = 1 << 17;

struct Device {
    now: Vec<u8>,
    flushed: Vec<u8>,
    /// Offsets and lengths that were written since the last flush, oldest first.
    written: Vec<(usize, usize)>,
}

impl Device {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        self.now[at..at + bytes.len()].copy_from_slice(bytes);
        self.written.push((at, bytes.len()));
    }

    fn flush(&mut self) {
        for (at, length) in self.written.drain(..) {
            self.flushed[at..at + length].copy_from_slice(&self.now[at..at + length]);
        }
    }
}

/// A mounted ext4 on a disk that can lose its power. Unmounted when dropped.
pub struct Disk {
    device: Arc<Mutex<Device>>,
    file: PathBuf,
    dir: PathBuf,
    server: Option<JoinHandle<()>>,
}

impl Disk {
    /// An image of an empty ext4. `None`: there is no `mkfs.ext4`.
    pub fn image(megabytes: u64) -> Option<Vec<u8>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(megabytes << 20).unwrap();
        let mut mkfs = Command::new("mkfs.ext4");
        mkfs.args(["-q", "-F", "-b", "4096", "-J", "size=4"]).arg(file.path());
        mkfs.output().ok()?.status.success().then(|| std::fs::read(file.path()).unwrap())
    }

    /// Mounts `image` at `dir`. `None`: that is not allowed here.
    pub fn mount(image: Vec<u8>, dir: &Path) -> Option<Self> {
        std::fs::create_dir_all(dir).unwrap();
        let file = dir.with_extension("device");
        File::create(&file).unwrap();
        let fuse = File::options().read(true).write(true).open("/dev/fuse").ok()?;
        // The mount command hands the kernel its standard input: our open /dev/fuse.
        let options = "fd=0,rootmode=100000,user_id=0,group_id=0";
        let mut mount = Command::new("mount");
        mount.args(["-i", "-t", "fuse", "-o", options, "etl-test-disk"]).arg(&file);
        if !mount.stdin(Stdio::from(fuse.try_clone().unwrap())).output().ok()?.status.success() {
            return None;
        }
        let flushed = image.clone();
        let device = Arc::new(Mutex::new(Device { now: image, flushed, written: Vec::new() }));
        let served = Arc::clone(&device);
        let server = std::thread::spawn(move || serve(&fuse, &served));
        let disk = Self { device, file, dir: dir.to_owned(), server: Some(server) };
        let mounted = Command::new("mount").args(["-o", "loop"]).args([&disk.file, dir]).output().unwrap();
        mounted.status.success().then_some(disk)
    }

    /// What is on the disk if the power fails now.
    pub fn cut(&self, seed: u64) -> Vec<u8> {
        let device = self.device.lock().unwrap();
        let mut image = device.flushed.clone();
        let mut drawn = 0_u64;
        for (at, length) in &device.written {
            for block in (at / BLOCK)..(at + length).div_ceil(BLOCK) {
                drawn += 1;
                let digest = blake3::hash(&[seed.to_le_bytes(), drawn.to_le_bytes()].concat());
                if digest.as_bytes()[0] < 128 {
                    let range = block * BLOCK..((block + 1) * BLOCK).min(image.len());
                    image[range.clone()].copy_from_slice(&device.now[range]);
                }
            }
        }
        image
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for path in [&self.dir, &self.file] {
            let done = Command::new("umount").arg(path).output();
            if !done.is_ok_and(|done| done.status.success()) {
                let _ = Command::new("umount").arg("-l").arg(path).output();
            }
        }
        if let Some(server) = self.server.take().filter(|_| !std::thread::panicking()) {
            let _ = server.join();
        }
    }
}

/// Answers the kernel until the file is unmounted.
fn serve(mut fuse: &File, device: &Mutex<Device>) {
    let mut buffer = vec![0; MAX_WRITE as usize + BLOCK];
    while let Ok(length) = fuse.read(&mut buffer) {
        let request = Request(&buffer[..length]);
        let Some(answer) = request.answer(device) else { continue };
        let (error, body) = answer.map_or_else(|error| (-error, Vec::new()), |body| (0, body));
        let mut reply = u32::try_from(16 + body.len()).unwrap().to_le_bytes().to_vec();
        reply.extend(error.to_le_bytes());
        reply.extend(request.number(8, 8).to_le_bytes());
        reply.extend(body);
        // The kernel may have given up on it.
        let _ = fuse.write_all(&reply);
    }
}

/// A request of the kernel: a head of 40 bytes, then what the operation needs.
struct Request<'a>(&'a [u8]);

impl Request<'_> {
    fn number(&self, at: usize, length: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes[..length].copy_from_slice(&self.0[at..at + length]);
        u64::from_le_bytes(bytes)
    }

    /// The answer, or the error number. `None`: none is expected.
    fn answer(&self, device: &Mutex<Device>) -> Option<Result<Vec<u8>, i32>> {
        let mut device = device.lock().unwrap();
        let place = |at: usize| usize::try_from(self.number(40 + at, 8)).unwrap();
        let size = || usize::try_from(self.number(56, 4)).unwrap();
        Some(Ok(match self.number(4, 4) {
            // Forgotten nodes, an interrupt.
            2 | 36 | 42 => return None,
            // Attributes are asked for, or set.
            3 | 4 => attributes(device.now.len()),
            // Open: a handle, no flags.
            14 => vec![0; 16],
            15 => {
                let from = place(8).min(device.now.len());
                device.now[from..(from + size()).min(device.now.len())].to_vec()
            }
            16 => {
                device.write(place(8), &self.0[80..80 + size()]);
                [self.number(56, 4).to_le_bytes()].concat()
            }
            // Space.
            17 => vec![0; 80],
            20 => {
                device.flush();
                Vec::new()
            }
            // Closed, and the end.
            18 | 25 | 38 => Vec::new(),
            26 => hello(),
            _ => return Some(Err(nix::libc::ENOSYS)),
        }))
    }
}

fn attributes(size: usize) -> Vec<u8> {
    let mut answer = vec![0; 16];
    let size = u64::try_from(size).unwrap();
    for field in [1, size, size / 512, 0, 0, 0_u64] {
        answer.extend(field.to_le_bytes());
    }
    for field in [0, 0, 0, 0o100_600, 1, 0, 0, 0, 4096, 0_u32] {
        answer.extend(field.to_le_bytes());
    }
    answer
}

/// Version 7.31, no features, and how much may be written at once.
fn hello() -> Vec<u8> {
    let mut answer = Vec::new();
    for field in [7, 31, MAX_WRITE, BIG_WRITES | MAX_PAGES, 0, MAX_WRITE, 1, MAX_WRITE / 4096] {
        answer.extend(field.to_le_bytes());
    }
    answer.resize(64, 0);
    answer
}

const BIG_WRITES: u32 = 1 << 5;
const MAX_PAGES: u32 = 1 << 22;
