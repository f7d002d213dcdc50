//! A game server at 128 frames per second, without the plugin and with it while a script of it serves HTTP to clients that never
//! rest: what frames take, one beside the other in the same process, again and again. The condition, looked at in the time that the
//! game's thread worked: the 99th percentile with Node is at most the one without plus the budget. By the clock it can only hold
//! where the game has a processor whenever it wants one; so frames without Node that do other work for as long as the budget stand
//! beside it.

#[path = "../tests/support/plugins.rs"]
mod plugins;
#[path = "../tests/support/mod.rs"]
mod support;

use plugins::{Game, Server};
use serde_json::{json, Value};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const FRAMES: u64 = 1280;
const PER_SECOND: u64 = 128;
const ROUNDS: usize = 3;
const CLIENTS: usize = 4;
const BUDGET: Duration = Duration::from_micros(2000);

const SCRIPT: &str = "
    const server = require('http').createServer((request, response) => {
      response.end(JSON.stringify({ url: request.url, list: Array.from({ length: 100 }, (_, i) => i) }));
    });
    server.keepAliveTimeout = 60000;
    server.listen(0, '127.0.0.1', () => relink.host.print('serves', server.address().port, 'here'));";

/// Asks again and again on one connection, until it is to stop. Clients stand for other machines: where there are few
/// processors, the game must not wait for them.
fn client(port: u16, busy: &AtomicBool, answered: &AtomicU64) -> std::io::Result<()> {
    const LEAST: i32 = 19;
    // SAFETY: the calling thread's own priority, lowered.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LEAST) };
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(plugins::LONG))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while busy.load(Ordering::Relaxed) {
        (&stream).write_all(b"GET /frames HTTP/1.1\r\nHost: here\r\n\r\n")?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line.trim().is_empty() {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length])?;
        answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn frames(server: &mut Server) -> Value {
    server.yes(&format!("frames {FRAMES} {PER_SECOND}"))
}

/// Frames while the script serves, and how many requests it answered meanwhile.
fn busy_frames(server: &mut Server, port: u16) -> (Value, u64) {
    let (busy, answered) = (AtomicBool::new(true), AtomicU64::new(0));
    let told = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| client(port, &busy, &answered))).collect();
        server.yes(&format!("frames 64 {PER_SECOND}"));
        let before = answered.load(Ordering::Relaxed);
        let told = (frames(server), answered.load(Ordering::Relaxed) - before);
        busy.store(false, Ordering::Relaxed);
        // Each gets its last answer.
        while clients.iter().any(|client| !client.is_finished()) {
            server.yes(&format!("frames 4 {PER_SECOND}"));
        }
        for client in clients {
            client.join().expect("no panic").expect("served");
        }
        told
    });
    assert!(told.1 > 0, "nothing was served");
    told
}

fn time(told: &Value, what: &str) -> Duration {
    Duration::from_nanos(told[what].as_u64().expect("nanoseconds"))
}

fn tell(what: &str, told: &Value) {
    for (kind, which) in [("_ns", "by the clock"), ("_own_ns", "of the thread's own")] {
        let [median, p99, longest] =
            ["median", "p99", "longest"].map(|name| time(told, &format!("{name}{kind}")));
        println!(
            "{what:32} median {median:>9.1?}  99th percentile {p99:>9.1?}  longest {longest:>9.1?}  {which}"
        );
    }
}

fn main() -> ExitCode {
    let game = Game::new(&json!({ "budget_us": BUDGET.as_micros() as u64, "console": true }));
    game.script("server.js", SCRIPT);
    let mut server = Server::with_v8();
    server.yes(&format!("frames 256 {PER_SECOND}"));
    let mut all_hold = true;
    for _ in 0..ROUNDS {
        let bare = frames(&mut server);
        tell("without", &bare);
        server.said.clear();
        server.yes(&game.load());
        let line = server.until("serves ");
        let port = line.split("serves ").nth(1).and_then(|rest| rest.split(' ').next());
        let port = port.and_then(|port| port.parse().ok()).expect("a port");
        let (with, answered) = busy_frames(&mut server, port);
        tell(&format!("with, {answered} requests answered"), &with);
        server.yes("unload");
        let other = format!("frames {FRAMES} {PER_SECOND} {}", BUDGET.as_micros());
        tell("without, 2 ms of other work", &server.yes(&other));
        let more = time(&with, "p99_own_ns").saturating_sub(time(&bare, "p99_own_ns"));
        println!("{:32} {more:.2?} more at the 99th percentile, of the thread's own\n", "");
        all_hold &= more <= BUDGET;
    }
    server.quit();
    if all_hold {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
